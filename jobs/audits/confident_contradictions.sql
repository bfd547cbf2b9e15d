-- Where is the probe sure that the label is wrong?
--
-- The probe is a linear classifier on the features that has never seen the image it judges (five folds), so it cannot
-- have learned a wrong label by heart. High `p_probe` with low `p_label`: look first. See calibration for how far its
-- figures can be believed.
--
-- param class class = '' : images labelled so; '' for all
-- param sure number = 0.9 : least probability of the class that the probe names
-- param rows integer = 50 : maximum number of rows
-- needs images, probe, probe_classes
select p.image_id, i.path, i.label_name, c.name as probe_says, p.p_pred as p_probe, p.p_label
from probe p
join images i on i.image_id = p.image_id
join probe_classes c on c.class = p.pred
where p.label is not null and p.pred <> p.label and p.p_pred >= cast($sure as real)
    and ($class = '' or i.label_name = $class)
order by p.p_pred desc, p.p_label, p.image_id
limit $rows
