-- For which groups of images is the classifier worst?
--
-- A group is an attribute's value, over all labels (`label_name` null) or within one. `rest` is the accuracy of all other values,
-- of the same label if given. `worse`: the difference is significant (Fisher's exact test, Benjamini–Hochberg over all groups:
-- `q_value` at most 0.05).
--
-- param attribute text = '' : this attribute only; '' for all
-- param least integer = 10 : minimum number of images
-- param rows integer = 30 : maximum number of rows
-- needs groups
select attribute, value, label_name, images, accuracy, accuracy_low, accuracy_high, rest, p_value, q_value, worse, worst
from groups
where accuracy is not null and images >= $least and ($attribute = '' or attribute = $attribute)
order by p_value nulls last, attribute, value, label_name nulls first
limit $rows
