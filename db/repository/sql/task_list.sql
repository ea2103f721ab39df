-- Lists of tasks, the greatest id first, and of dead ones, the latest death first. A page is found first,
-- by an index, and read after ({ListedTasks}).
--
-- There is a statement for each filter, and one plan for each statement, whether the planner knows the values
-- or not: it orders by all the columns of the one index that serves it, and bounds them by comparisons. Said
-- to be equal, the queue would drop out of the order, and a walk of the primary key would do, which passes
-- over all that is of other queues. `<=` and `>=` are never taken for fewer rows than there are, as `<` is.
-- The limit that is written out is kMaxListed (task_repository.h) and one more; of a parameter the planner
-- thinks that it may be a tenth of the table.

-- name: All
WITH page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT t.id
    FROM all_tasks AS t
    WHERE t.id <= :up_to::bigint
    ORDER BY t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: OfQueue
WITH page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT t.id
    FROM all_tasks AS t
    WHERE (t.queue, t.id) <= (:queue::text, :up_to::bigint) AND t.queue >= :queue::text
    ORDER BY t.queue DESC, t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: Pending
-- Those that run are passed over.
WITH page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT t.id
    FROM tasks AS t
    WHERE t.state = 'pending' AND t.id <= :up_to::bigint
    ORDER BY t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: PendingOfQueue
WITH page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT t.id
    FROM tasks AS t
    WHERE t.state = 'pending' AND (t.queue, t.id) <= (:queue::text, :up_to::bigint)
      AND t.queue >= :queue::text
    ORDER BY t.queue DESC, t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: Running
-- All that run are looked at, in an index that holds no others, and sorted: without the order nothing makes
-- the primary key look good.
WITH running AS MATERIALIZED (
  SELECT t.id FROM tasks AS t WHERE t.state = 'running'
), page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT r.id
    FROM running AS r
    WHERE r.id <= :up_to::bigint
    ORDER BY r.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: RunningOfQueue
WITH running AS MATERIALIZED (
  SELECT t.id FROM tasks AS t WHERE t.state = 'running' AND t.queue = :queue::text
), page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT r.id
    FROM running AS r
    WHERE r.id <= :up_to::bigint
    ORDER BY r.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: Succeeded
-- Those that ended otherwise are passed over.
WITH page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT t.id
    FROM task_history AS t
    WHERE t.state = 'succeeded' AND t.id <= :up_to::bigint
    ORDER BY t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: SucceededOfQueue
WITH page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT t.id
    FROM task_history AS t
    WHERE t.state = 'succeeded' AND (t.queue, t.id) <= (:queue::text, :up_to::bigint)
      AND t.queue >= :queue::text
    ORDER BY t.queue DESC, t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: Unsuccessful
-- Of one state.
WITH page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT t.id
    FROM task_history AS t
    WHERE t.state <> 'succeeded' AND (t.state, t.id) <= (:state::text, :up_to::bigint)
      AND t.state >= :state::text
    ORDER BY t.state DESC, t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: UnsuccessfulOfQueue
WITH page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT t.id
    FROM task_history AS t
    WHERE t.state <> 'succeeded'
      AND (t.queue, t.state, t.id) <= (:queue::text, :state::text, :up_to::bigint)
      AND (t.queue, t.state) >= (:queue::text, :state::text)
    ORDER BY t.queue DESC, t.state DESC, t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: Dead
WITH page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT t.id
    FROM dead_tasks AS t
    WHERE t.id <= :up_to::bigint
    ORDER BY t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: DeadOfQueue
WITH page AS MATERIALIZED (
  SELECT p.id, p.id AS place
  FROM (
    SELECT t.id
    FROM dead_tasks AS t
    WHERE (t.queue, t.id) <= (:queue::text, :up_to::bigint) AND t.queue >= :queue::text
    ORDER BY t.queue DESC, t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: ByDeath
-- Those with another name are passed over.
WITH page AS MATERIALIZED (
  SELECT p.id, p.place
  FROM (
    SELECT t.id, (extract(epoch FROM t.died_at) * 1000000)::bigint AS place
    FROM dead_tasks AS t
    WHERE (t.died_at, t.id) <= ({DiedBy}, :up_to::bigint) AND (:name::text = '' OR t.name = :name::text)
    ORDER BY t.died_at DESC, t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};

-- name: ByDeathOfQueue
WITH page AS MATERIALIZED (
  SELECT p.id, p.place
  FROM (
    SELECT t.id, (extract(epoch FROM t.died_at) * 1000000)::bigint AS place
    FROM dead_tasks AS t
    WHERE (t.queue, t.died_at, t.id) <= (:queue::text, {DiedBy}, :up_to::bigint)
      AND t.queue >= :queue::text AND (:name::text = '' OR t.name = :name::text)
    ORDER BY t.queue DESC, t.died_at DESC, t.id DESC
    LIMIT :limit::bigint OFFSET :offset::bigint
  ) AS p
  LIMIT 101
)
{ListedTasks};
