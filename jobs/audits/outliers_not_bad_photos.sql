-- Which images are unlike all others although the photo is fine?
--
-- Outliers by neighbour distance, except dark, blurred, blank and similar photos. The rest do not belong in the dataset,
-- or are rare and deserve more examples.
--
-- param class class = '' : images with this label; '' for all
-- param rows integer = 50 : maximum number of rows
-- needs images, outliers, issues
with bad as (
    select distinct image_id
    from issues
    where flagged and kind in ('dark', 'bright', 'blank', 'blurred', 'odd_aspect', 'tiny', 'grayscale',
        'damaged', 'unreadable')
)
select o.image_id, i.path, i.label_name, o.score, o.distance
from outliers o
join images i on i.image_id = o.image_id
left join bad b on b.image_id = o.image_id
where o.flagged and b.image_id is null and ($class = '' or i.label_name = $class)
order by o.score, o.image_id
limit $rows
