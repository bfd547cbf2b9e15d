-- Which images have the most copies?
--
-- One row per group of copies, with its numbers of images, labels and splits; `image_id` is its first image. Each copy
-- adds weight to the image in training and in averages.
--
-- param least integer = 2 : minimum number of images
-- param rows integer = 50 : maximum number of rows
-- needs images, duplicates
with members as (
    select group_id, image_a as image_id from duplicates
    union
    select group_id, image_b as image_id from duplicates
),
counted as (
    select m.group_id, count(*) as images, count(distinct i.label_name) as labels, count(distinct i.split) as splits
    from members m
    join images i on i.image_id = m.image_id
    group by m.group_id
)
select c.group_id as image_id, i.path, i.label_name, c.images, c.labels, c.splits
from counted c
join images i on i.image_id = c.group_id
where c.images >= $least
order by c.images desc, c.group_id
limit $rows
