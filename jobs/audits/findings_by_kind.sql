-- What has the audit found, and how much of it has been reviewed?
--
-- `flagged` is what the audit stands by, `candidates` all that it lists; `fine` and `to_fix` are people's verdicts, `open` what
-- is flagged and not yet looked at.
--
-- needs issues
select kind, count(*) as candidates, sum(case when flagged then 1 else 0 end) as flagged,
    sum(case when reviewed = 'ok' then 1 else 0 end) as fine, sum(case when reviewed = 'fix' then 1 else 0 end) as to_fix,
    sum(case when flagged and reviewed is null then 1 else 0 end) as "open"
from issues
group by kind
order by flagged desc, kind
