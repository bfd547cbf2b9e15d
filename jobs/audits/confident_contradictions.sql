-- Which labels does the probe contradict with confidence?
--
-- The probe is a linear classifier on the features, trained in five folds, so it has not seen the images it predicts. The
-- network may have, and then its features may contain a wrong label. Start with high `p_probe` and low `p_label`. The
-- query calibration shows how reliable the probabilities are.
--
-- param class class = '' : images with this label; '' for all
-- param sure number = 0.9 : minimum probability of the predicted class
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
