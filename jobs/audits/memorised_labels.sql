-- Which wrong labels has the network learned by heart?
--
-- The network is sure of the label, a probe that has not seen the image is sure of another class. Where the network was
-- trained on these very images, these are label errors that its own predictions hide. No rows where the network knows
-- other classes than the dataset's.
--
-- param network number = 0.8 : least probability that the network gives the label
-- param probe number = 0.1 : greatest probability that the probe gives the label
-- param rows integer = 50 : maximum number of rows
-- needs images, predictions, probe, probe_classes
select p.image_id, i.path, i.label_name, c.name as probe_says, p.p_pred as p_probe, n.p_label as network_p_label,
    p.p_label as probe_p_label
from probe p
join predictions n on n.image_id = p.image_id
join images i on i.image_id = p.image_id
join probe_classes c on c.class = p.pred
where p.pred <> p.label and n.p_label >= cast($network as real) and p.p_label <= cast($probe as real)
order by p.p_label, n.p_label desc, p.image_id
limit $rows
