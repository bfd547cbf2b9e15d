-- Which units belong to one class alone?
--
-- At least `share` of the images that excite the unit most are of one class, and its selectivity is at least
-- `selectivity` (0: all classes alike, 1: active in one only). Look at what the patches show (`prospect unit LAYER:UNIT`): a
-- part of the thing is as it should be; a caption, a frame or a background is a shortcut.
--
-- param class class = '' : units of this class; '' for all
-- param layer text = '' : units of this layer; '' for all
-- param share number = 1.0 : least share of its images
-- param selectivity number = 0.5 : least selectivity
-- param rows integer = 50 : most rows
-- needs images, patches, unit_stats
with shown as (
    select layer, unit, count(*) as n, min(case when rank = 1 then image_id else null end) as image_id
    from patches
    where $layer = '' or layer = $layer
    group by layer, unit
),
by_class as (
    select p.layer, p.unit, i.label_name, count(*) as n
    from patches p
    join images i on i.image_id = p.image_id
    where i.label_name is not null and ($class = '' or i.label_name = $class)
    group by p.layer, p.unit, i.label_name
)
select u.layer, u.unit, c.label_name, c.n as images_of_class, s.n as images, u.selectivity, u.share_active, s.image_id, i.path
from unit_stats u
join shown s on s.layer = u.layer and s.unit = u.unit
join by_class c on c.layer = u.layer and c.unit = u.unit
join images i on i.image_id = s.image_id
where not u.dead and cast(c.n as double) / s.n >= $share and u.selectivity >= cast($selectivity as real)
order by u.selectivity desc, u.layer, u.unit
limit $rows
