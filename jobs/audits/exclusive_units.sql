-- Which units respond to a single class?
--
-- At least `share` of the images that activate the unit most are of one class, and its selectivity is at least
-- `selectivity` (0: same response to all classes, 1: active for one class only). Check the unit's patches (`prospect unit
-- LAYER:UNIT`): a part of the object is fine; a caption, a frame or a background is a shortcut.
--
-- param class class = '' : units of this class; '' for all
-- param layer text = '' : units of this layer; '' for all
-- param share number = 1.0 : minimum share of its images
-- param selectivity number = 0.5 : minimum selectivity
-- param least integer = 3 : minimum number of images that activate the unit
-- param rows integer = 50 : maximum number of rows
-- needs images, patches, unit_stats
with excited as (
    select p.layer, p.unit, p.rank, p.image_id, u.selectivity, u.share_active
    from patches p
    join unit_stats u on u.layer = p.layer and u.unit = p.unit
    where not u.dead and p.value > u.min and ($layer = '' or p.layer = $layer)
        and u.selectivity >= cast($selectivity as real)
),
shown as (
    select layer, unit, count(*) as n, min(case when rank = 1 then image_id else null end) as image_id,
        max(selectivity) as selectivity, max(share_active) as share_active
    from excited
    group by layer, unit
),
by_class as (
    select p.layer, p.unit, i.label_name, count(*) as n
    from excited p
    join images i on i.image_id = p.image_id
    where i.label_name is not null and ($class = '' or i.label_name = $class)
    group by p.layer, p.unit, i.label_name
)
select s.layer, s.unit, c.label_name, c.n as images_of_class, s.n as images, s.selectivity, s.share_active, s.image_id, i.path
from shown s
join by_class c on c.layer = s.layer and c.unit = s.unit
join images i on i.image_id = s.image_id
where s.n >= $least and cast(c.n as double) / s.n >= $share
order by s.selectivity desc, s.layer, s.unit
limit $rows
