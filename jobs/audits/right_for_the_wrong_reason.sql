-- Which images does the network get right while looking elsewhere?
--
-- The predicted class is the label, but its explanation is on the image's border, or outside the object's box where boxes
-- exist (`energy_in_box` is null without them). Many rows of one class with the same object in the corner are a shortcut
-- (shortcut_units).
--
-- param class class = '' : images with this label; '' for all
-- param method text = 'gradcam' : explanation method
-- param border number = 0.6 : minimum share of the map on the image's border, or
-- param in_box number = 0.1 : maximum share of the map inside the object's box
-- param rows integer = 50 : maximum number of rows
-- needs images, explanations, predictions
select e.image_id, i.path, i.label_name, n.p_pred, e.border_fraction, e.energy_in_box, e.layer
from explanations e
join predictions n on n.image_id = e.image_id
join images i on i.image_id = e.image_id
where e.class_kind = 'label' and e.method = $method and e.class = n.pred and not e.zero_map
    and (e.border_fraction >= cast($border as real) or e.energy_in_box <= cast($in_box as real))
    and ($class = '' or i.label_name = $class)
order by e.border_fraction desc nulls last, e.image_id, e.layer
limit $rows
