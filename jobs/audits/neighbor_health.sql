-- Can the neighbour lists of this run be relied on?
--
-- One row for the run; hold it against the row of another run. `exact_share` below 1: an index was used for the rest.
-- `antihub_share` (images in nobody's list) and `largest_in_degree` tell how hubby the space is; `at_distance_0` counts
-- neighbours that are copies; a fall of `label_agreement` from one night to the next means other features or labels.
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
