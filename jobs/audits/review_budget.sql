-- How many images must be looked at to find most wrong labels?
--
-- Measured on labels that the audit has flipped itself: looking at the first `reviewed` images finds the share
-- `recall` of all wrong labels (between `recall_low` and `recall_high`), and `precision` of those looked at are wrong.
-- Stop where a further row buys little recall.
--
-- needs label_calibration
select reviewed, recall, recall_low, recall_high, precision, planted
from label_calibration
order by reviewed
