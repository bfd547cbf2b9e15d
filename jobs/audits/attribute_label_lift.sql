-- Which attributes predict the label?
--
-- Normalised mutual information of each attribute with the label (0: independent, 1: equivalent), and the share of
-- shuffled labels with at least as much (`p_value`). `lift`: how much more frequent label `top_label` is among images
-- whose attribute has the value `top_value`; `support` is the number of these images. A network will exploit a strong
-- association that has nothing to do with the object.
--
-- param p_value number = 0.01 : maximum p-value
-- param rows integer = 30 : maximum number of rows
-- needs associations
select attribute, kind, "values" as distinct_values, images, nmi, p_value, top_value, top_label_name as top_label, lift, support
from associations
where p_value <= $p_value
order by nmi desc, attribute
limit $rows
