-- Which classes are hardest to recognise, and what are they mistaken for?
--
-- Accuracy of the probe per class, out of fold, and the class it is most often mistaken for. Low accuracy with few
-- images: collect more. With many: the features do not show the difference, or the labels are wrong
-- (label_noise_by_class).
--
-- param rows integer = 30 : maximum number of rows
-- needs probe, probe_classes
with pairs as (
    select label, pred, count(*) as n, sum(cast(p_label as double)) as p
    from probe
    where label is not null
    group by label, pred
),
totals as (
    select label, sum(n) as images, sum(case when pred = label then n else 0 end) as hits, sum(p) as p
    from pairs
    group by label
),
mistakes as (
    select label, pred, n, row_number() over (partition by label order by 0 - cast(n as bigint), pred) as place
    from pairs
    where pred <> label
)
select c.name as class_name, t.images, cast(t.hits as double) / t.images as accuracy, t.p / t.images as mean_p_label,
    o.name as most_taken_for, m.n as times
from totals t
join probe_classes c on c.class = t.label
left join (select label, pred, n from mistakes where place = 1) m on m.label = t.label
left join probe_classes o on o.class = m.pred
order by accuracy, c.name
limit $rows
