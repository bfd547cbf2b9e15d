-- Which units never respond in this dataset?
--
-- A unit is dead if it is never above 0 or has the same value for every image. A few are normal; a layer with many
-- (`dead_in_layer` of `units_in_layer`) has more channels than it needs or was trained with too high a learning rate.
--
-- param layer text = '' : units of this layer; '' for all
-- param rows integer = 1000 : maximum number of rows
-- needs unit_stats
with counted as (
    select layer, unit, dead, max as greatest_value,
        sum(case when dead then 1 else 0 end) over (partition by layer) as dead_in_layer,
        count(*) over (partition by layer) as units_in_layer
    from unit_stats
)
select layer, unit, greatest_value, dead_in_layer, units_in_layer
from counted
where dead and ($layer = '' or layer = $layer)
order by layer, unit
limit $rows
