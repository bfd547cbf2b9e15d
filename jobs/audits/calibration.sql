-- Are the probe's probabilities calibrated?
--
-- Images grouped by the out-of-fold probability of the predicted class. If calibrated, `accuracy` equals `confidence` in
-- every row; a negative `gap` means overconfidence. Wrong labels lower the accuracy of the most confident rows: a gap
-- only there is about as large as the share of wrong labels. `calibrated` is what other folds predict for `accuracy`.
--
-- param bins integer = 10 : number of bins from 0 to 1
-- needs probe
with judged as (
    select least(cast(floor(cast(p_pred as double) * $bins) as integer), $bins - 1) as bin, cast(p_pred as double) as p,
        case when pred = label then 1 else 0 end as is_right, cast(calibrated as double) as calibrated
    from probe
    where label is not null
)
select cast(cast(bin as double) / $bins as real) as p_from, cast(cast(bin + 1 as double) / $bins as real) as p_to,
    count(*) as images, avg(p) as confidence, cast(sum(is_right) as double) / count(*) as accuracy,
    cast(sum(is_right) as double) / count(*) - avg(p) as gap, avg(calibrated) as calibrated
from judged
group by bin
order by bin
