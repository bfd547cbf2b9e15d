-- Which wrong labels has the network memorised?
--
-- The network is confident in the label, and a probe that has not seen the image in another class. If the network was
-- trained on these images, its own predictions hide these label errors. The probe reads the network's features: where
-- they have memorised the label as well, it agrees, and no row is no proof. No rows if the network's classes are not the
-- dataset's.
--
-- param network number = 0.8 : minimum probability of the label by the network
-- param probe number = 0.1 : maximum probability of the label by the probe
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
