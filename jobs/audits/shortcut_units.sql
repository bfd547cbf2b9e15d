-- Which units are the likeliest shortcuts, and what do they respond to?
--
-- Marks found in the pictures themselves (`layer` null; `q_value` by permuted labels), and the ranked candidates: units that
-- respond to one class only (`exclusivity`), whose evidence is outside the object or on the border, and without which
-- accuracy drops (`accuracy_drop`). `image_id` is the image that activates the unit most.
--
-- param class class = '' : shortcuts of this class; '' for all
-- param rows integer = 20 : maximum number of rows
-- needs images, shortcuts, patches
with first_patch as (
    select layer, unit, image_id from patches where rank = 1
)
select s.rank, s.class_name, s.layer, s.unit, s.score, s.q_value, s.exclusivity, s.border_energy, s.background_energy,
    s.outside_boxes, s.accuracy_drop, s.flagged, f.image_id, i.path, s.evidence
from shortcuts s
left join first_patch f on f.layer = s.layer and f.unit = s.unit
left join images i on i.image_id = f.image_id
where $class = '' or s.class_name = $class
order by s.rank
limit $rows
