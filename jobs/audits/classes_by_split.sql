-- Are the classes distributed equally over the splits?
--
-- One row per class and split: `share` of the split's labelled images against `share_overall`. A `ratio` far from 1 means
-- that the split's distribution differs from that of the dataset. 0 images: the split lacks the class.
--
-- param rows integer = 100 : maximum number of rows
-- needs images
with counted as (
    select label_name, split, count(*) as n
    from images
    where label_name is not null and split is not null
    group by label_name, split
),
splits as (
    select split, sum(n) as n from counted group by split
),
labels as (
    select label_name, sum(n) as n from counted group by label_name
),
everything as (
    select sum(n) as n from counted
),
pairs as (
    select l.label_name, s.split, l.n as label_n, s.n as split_n, e.n as n from labels l cross join splits s cross join everything e
),
shares as (
    select p.label_name, p.split, coalesce(c.n, 0) as images, cast(coalesce(c.n, 0) as double) / p.split_n as share,
        cast(p.label_n as double) / p.n as share_overall
    from pairs p
    left join counted c on c.label_name = p.label_name and c.split = p.split
)
select label_name, split, images, share, share_overall, share / share_overall as ratio
from shares
order by abs(share / share_overall - 1) desc, label_name, split
limit $rows
