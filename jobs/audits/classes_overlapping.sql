-- Which classes overlap in feature space, independent of any classifier?
--
-- `b_among_a` is the share of class A's neighbours in class B, `a_among_b` the reverse. Both high: one class with two
-- names, or photos that show both. One high: a small class inside a large one.
--
-- param class class = '' : pairs with this class; '' for all
-- param rows integer = 30 : maximum number of rows
-- needs class_overlap
with pairs as (
    select case when class_a < class_b then name_a else name_b end as a,
        case when class_a < class_b then name_b else name_a end as b,
        sum(case when class_a < class_b then cast(share as double) else cast(0 as double) end) as b_among_a,
        sum(case when class_a < class_b then cast(0 as double) else cast(share as double) end) as a_among_b
    from class_overlap
    where class_a <> class_b
    group by a, b
)
select a, b, b_among_a, a_among_b
from pairs
where $class = '' or a = $class or b = $class
order by b_among_a + a_among_b desc, a, b
limit $rows
