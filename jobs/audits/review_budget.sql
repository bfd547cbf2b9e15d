-- How many images must be reviewed to find most wrong labels?
--
-- Measured on labels flipped by the audit: reviewing the first `reviewed` images finds the share `recall` of all wrong
-- labels (between `recall_low` and `recall_high`), and the share `precision` of the reviewed images is wrong. Stop where
-- the next row adds little recall.
--
-- needs label_calibration
select reviewed, recall, recall_low, recall_high, precision, planted
from label_calibration
order by reviewed
