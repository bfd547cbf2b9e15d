-- Are this run's neighbour lists reliable?
--
-- One row for the run, to compare with other runs. `exact_share` below 1: the other neighbours come from an index.
-- `antihub_share` (images in no list) and `largest_in_degree` measure hubness; `at_distance_0` counts neighbours that are
-- copies. A drop of `label_agreement` between runs means other features or labels.
--
-- needs neighbors, neighbor_stats
with lists as (
    select max(rank) as k, count(*) as edges, sum(case when exact then 1 else 0 end) as exact_edges,
        sum(case when distance = cast(0 as real) then 1 else 0 end) as at_distance_0
    from neighbors
),
nodes as (
    select count(*) as images, avg(cast(label_agreement as double)) as label_agreement,
        avg(cast(mean_distance as double)) as mean_distance,
        sum(case when in_degree = 0 then 1 else 0 end) as antihubs, max(in_degree) as largest_in_degree
    from neighbor_stats
)
select n.images, l.k, l.edges, cast(l.exact_edges as double) / l.edges as exact_share, n.label_agreement, n.mean_distance,
    cast(n.antihubs as double) / n.images as antihub_share, n.largest_in_degree, l.at_distance_0
from nodes n
cross join lists l
