-- Which units respond to a class and to an attribute that should not matter?
--
-- Among the images that activate a unit most, at least `share` are of one class, and at least `share` have one value of
-- an attribute (the split, or a text, boolean or integer column of the metadata). `lift` is how much more frequent the
-- value is there than among all images; 1 means no association. Each unit is a candidate for a shortcut: it may have
-- learned the attribute instead of the class. Images that do not activate the unit do not count. The table attributes is
-- derived from images, one row per image and value.
--
-- param attribute text = '' : this attribute only; '' for all
-- param class class = '' : units of this class; '' for all
-- param share number = 0.7 : minimum share of the unit's images, for both
-- param lift number = 1.5 : minimum lift of the attribute's value
-- param least integer = 3 : minimum number of images that activate the unit
-- param rows integer = 50 : maximum number of rows
-- needs images, patches, unit_stats, attributes
with excited as (
    select p.layer, p.unit, p.rank, p.image_id
    from patches p
    join unit_stats u on u.layer = p.layer and u.unit = p.unit
    where not u.dead and p.value > u.min
),
shown as (
    select layer, unit, count(*) as n, min(case when rank = 1 then image_id else null end) as image_id
    from excited
    group by layer, unit
),
by_class as (
    select p.layer, p.unit, i.label_name, count(*) as n
    from excited p
    join images i on i.image_id = p.image_id
    where i.label_name is not null and ($class = '' or i.label_name = $class)
    group by p.layer, p.unit, i.label_name
),
wanted as (
    select image_id, attribute, value from attributes where $attribute = '' or attribute = $attribute
),
by_value as (
    select p.layer, p.unit, w.attribute, w.value, count(*) as n
    from excited p
    join wanted w on w.image_id = p.image_id
    group by p.layer, p.unit, w.attribute, w.value
),
frequent as (
    select attribute, value, count(*) as n from wanted group by attribute, value
),
everywhere as (
    select f.attribute, f.value, cast(f.n as double) / t.n as share
    from frequent f
    join (select attribute, sum(n) as n from frequent group by attribute) t on t.attribute = f.attribute
),
found as (
    select s.layer, s.unit, s.n, c.label_name, cast(c.n as double) / s.n as class_share, v.attribute, v.value,
        cast(v.n as double) / s.n as value_share, e.share as share_everywhere,
        cast(v.n as double) / s.n / e.share as lift, s.image_id
    from shown s
    join by_class c on c.layer = s.layer and c.unit = s.unit
    join by_value v on v.layer = s.layer and v.unit = s.unit
    join everywhere e on e.attribute = v.attribute and e.value = v.value
)
select layer, unit, label_name, class_share, attribute, value, value_share, share_everywhere, lift, image_id
from found
where n >= $least and class_share >= $share and value_share >= $share and lift >= $lift
order by lift * class_share desc, layer, unit, attribute, value
limit $rows
