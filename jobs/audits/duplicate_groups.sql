-- Which pictures are there most often?
--
-- One row per group of copies: how many images, labels and splits it has; `image_id` is its first image. A picture with
-- many copies weighs that often in training and in every average.
--
-- param least integer = 2 : fewest images
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
