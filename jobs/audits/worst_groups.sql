-- For which groups of images is the classifier worst?
--
-- A group is an attribute's value, over all labels (`label_name` null) or within one. `surely_below` is how far the upper
-- end of the group's accuracy interval is below the overall accuracy: above 0, the difference
-- is not due to chance in a small group.
--
-- param attribute text = '' : this attribute only; '' for all
-- param least integer = 10 : minimum number of images
-- param rows integer = 30 : maximum number of rows
-- needs groups
select attribute, value, label_name, images, accuracy, accuracy_low, accuracy_high, overall,
    overall - accuracy_high as surely_below, worst
from groups
where accuracy is not null and images >= $least and ($attribute = '' or attribute = $attribute)
order by surely_below desc nulls last, attribute, value, label_name nulls first
limit $rows
