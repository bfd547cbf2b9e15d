-- Which classes are recognised by their background?
--
-- Means, over each class's images, of the maps of the predicted class: the share of the map on the image's border, and
-- the share outside the objects' boxes (null without boxes). A class far above the others is recognised by its
-- surroundings. `missed` is the share of maps whose maximum is outside the box.
--
-- param method text = 'gradcam' : explanation method
-- needs images, explanations
select i.label_name, e.layer, count(*) as images,
    cast(avg(cast(e.border_fraction as double)) as real) as border_fraction,
    1 - avg(cast(e.energy_in_box as double)) as outside_boxes,
    avg(case when e.pointing_hit then cast(0 as double) when not e.pointing_hit then cast(1 as double) else null end) as missed
from explanations e
join images i on i.image_id = e.image_id
where e.class_kind = 'predicted' and e.method = $method and not e.zero_map and i.label_name is not null
group by i.label_name, e.layer
order by border_fraction desc nulls last, i.label_name, e.layer
