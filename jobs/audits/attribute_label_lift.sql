-- Which attributes give the label away?
--
-- Normalised mutual information of each attribute with the label (0: nothing, 1: the same thing), with the share of
-- shuffled labels that do as well (`p_value`). `lift`: how much more frequent label `top_label` is where the attribute has
-- the value `top_value`, on `support` images. A strong association that has nothing to do with the thing itself is what a
-- network will use.
--
-- param p_value number = 0.01 : greatest p-value
-- param rows integer = 30 : maximum number of rows
-- needs associations
select attribute, kind, "values" as distinct_values, images, nmi, p_value, top_value, top_label_name as top_label, lift, support
from associations
where p_value <= $p_value
order by nmi desc, attribute
limit $rows
