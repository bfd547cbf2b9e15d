-- Which attributes predict the label?
--
-- Mutual information of each attribute with the label, adjusted for chance (`ami`; 0: unrelated, 1: equivalent), and the p-value
-- corrected for the number of attributes (`q_value`). `lift`: how much more frequent label `top_label` is among images
-- whose attribute has the value `top_value`; `support` is the number of these images. A network will exploit a strong
-- association that has nothing to do with the object.
--
-- param q_value number = 0.05 : maximum q-value
-- param rows integer = 30 : maximum number of rows
-- needs associations
select attribute, kind, "values" as distinct_values, images, ami, nmi, test, p_value, q_value, top_value,
    top_label_name as top_label, lift, support
from associations
where q_value <= $q_value
order by ami desc, attribute
limit $rows
