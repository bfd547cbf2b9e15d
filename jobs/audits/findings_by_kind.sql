-- How many findings of each kind are there, and how many are reviewed?
--
-- `flagged` are the audit's findings, `candidates` all rows; `fine` and `to_fix` are reviewers' verdicts, `open` are
-- flagged findings without a verdict.
--
-- needs issues
select kind, count(*) as candidates, sum(case when flagged then 1 else 0 end) as flagged,
    sum(case when reviewed = 'ok' then 1 else 0 end) as fine, sum(case when reviewed = 'fix' then 1 else 0 end) as to_fix,
    sum(case when flagged and reviewed is null then 1 else 0 end) as "open"
from issues
group by kind
order by flagged desc, kind
