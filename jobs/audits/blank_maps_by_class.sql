-- For which classes do explanations point at nothing?
--
-- The share of maps without any positive evidence. Such a map is no error: the class's logit comes from its bias, or from
-- the absence of what speaks for the others. Many in one class: its pictures have nothing in common that the layer shows.
--
-- param method text = 'gradcam' : how the maps were made
-- param kind text = 'predicted' : maps of the class that was predicted, or label
-- needs images, explanations
select i.label_name, e.layer, count(*) as maps, sum(case when e.zero_map then 1 else 0 end) as blank,
    cast(sum(case when e.zero_map then 1 else 0 end) as double) / count(*) as share
from explanations e
join images i on i.image_id = e.image_id
where e.class_kind = $kind and e.method = $method and i.label_name is not null
group by i.label_name, e.layer
order by share desc, i.label_name, e.layer
