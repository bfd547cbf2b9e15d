-- For which classes are explanations blank?
--
-- The share of maps without positive evidence. Such a map is not an error: the class's logit comes from its bias, or from
-- the absence of evidence for the other classes. Many in one class: its images share nothing that the layer detects.
--
-- param method text = 'gradcam' : explanation method
-- param kind text = 'predicted' : 'predicted' or 'label': the class explained
-- needs images, explanations
select i.label_name, e.layer, count(*) as maps, sum(case when e.zero_map then 1 else 0 end) as blank,
    cast(sum(case when e.zero_map then 1 else 0 end) as double) / count(*) as share
from explanations e
join images i on i.image_id = e.image_id
where e.class_kind = $kind and e.method = $method and i.label_name is not null
group by i.label_name, e.layer
order by share desc, i.label_name, e.layer
