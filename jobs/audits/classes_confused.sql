-- Which two classes are confused most?
--
-- Counts, out of fold, how often the probe takes class A for B and B for A; `share` is both together among the images of
-- the two classes. `overlap_ab` is the share of A's neighbours in class B. If both overlaps are high, the features do not
-- separate the classes; if low, the mistakes are suspicious labels (label_swaps).
--
-- param class class = '' : pairs with this class; '' for all
-- param rows integer = 30 : maximum number of rows
-- needs probe, probe_classes, class_overlap
with mistakes as (
    select case when label < pred then label else pred end as class_a,
        case when label < pred then pred else label end as class_b,
        sum(case when label < pred then 1 else 0 end) as a_taken_for_b,
        sum(case when label < pred then 0 else 1 end) as b_taken_for_a
    from probe
    where label is not null and label <> pred
    group by class_a, class_b
)
select a.name as a, b.name as b, m.a_taken_for_b, m.b_taken_for_a,
    cast(m.a_taken_for_b + m.b_taken_for_a as double) / cast(a.images + b.images as double) as share,
    coalesce(ab.share, cast(0 as real)) as overlap_ab, coalesce(ba.share, cast(0 as real)) as overlap_ba
from mistakes m
join probe_classes a on a.class = m.class_a
join probe_classes b on b.class = m.class_b
left join class_overlap ab on ab.class_a = m.class_a and ab.class_b = m.class_b
left join class_overlap ba on ba.class_a = m.class_b and ba.class_b = m.class_a
where $class = '' or a.name = $class or b.name = $class
order by share desc, a.name, b.name
limit $rows
