-- The schema as `parley-migrate dump` writes it, to be read. `parley-migrate up` makes it: this
-- has neither privileges, nor the history of migrations, nor the history's daily partitions.
--
-- PostgreSQL database dump
--

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: btree_gin; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS btree_gin WITH SCHEMA public;


--
-- Name: EXTENSION btree_gin; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON EXTENSION btree_gin IS 'support for indexing common datatypes in GIN';


--
-- Name: count_new_tasks(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.count_new_tasks() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
  -- A task that is driven again was created before.
  INSERT INTO queue_counters AS c (queue, backend, pending, running, created)
  SELECT queue, pg_backend_pid(), count(*) FILTER (WHERE state = 'pending'),
         count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE created_at = now())
  FROM now_there
  GROUP BY queue
  ORDER BY queue
  ON CONFLICT (queue, backend) DO UPDATE
  SET pending = c.pending + excluded.pending, running = c.running + excluded.running,
      created = c.created + excluded.created;
  RETURN NULL;
END $$;


--
-- Name: drop_task_history(date); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.drop_task_history(oldest date) RETURNS boolean
    LANGUAGE plpgsql
    SET lock_timeout TO '100ms'
    AS $$
DECLARE
  partition name;
BEGIN
  SELECT c.relname INTO partition
  FROM pg_inherits AS i
  JOIN pg_class AS c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'task_history'::regclass
    AND c.relname < format('task_history_%s', to_char(oldest, 'YYYYMMDD')) COLLATE "C"
  ORDER BY c.relname
  LIMIT 1;
  IF partition IS NULL THEN RETURN false; END IF;
  EXECUTE format('DROP TABLE %I', partition);
  RETURN true;
END $$;


--
-- Name: extend_task_history(date, date); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.extend_task_history(first date, last date) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
  day date;
  made integer := 0;
BEGIN
  FOR day IN SELECT generate_series(first::timestamp, last::timestamp, interval '1 day') LOOP
    CONTINUE WHEN to_regclass(format('task_history_%s', to_char(day, 'YYYYMMDD'))) IS NOT NULL;
    LOCK TABLE task_history IN SHARE UPDATE EXCLUSIVE MODE;
    CONTINUE WHEN to_regclass(format('task_history_%s', to_char(day, 'YYYYMMDD'))) IS NOT NULL;
    EXECUTE format('CREATE TABLE task_history_%s (LIKE task_history INCLUDING DEFAULTS'
                   ' INCLUDING CONSTRAINTS INCLUDING STORAGE)', to_char(day, 'YYYYMMDD'));
    EXECUTE format('ALTER TABLE task_history ATTACH PARTITION task_history_%s FOR VALUES FROM (%L) TO (%L)',
                   to_char(day, 'YYYYMMDD'), day || ' 00:00:00+00', day + 1 || ' 00:00:00+00');
    made := made + 1;
  END LOOP;
  RETURN made;
END $$;


--
-- Name: parley_enqueue(text, text, bytea, jsonb, timestamp with time zone, integer, integer, timestamp with time zone, text, text, text, interval, interval, interval, interval, double precision, double precision); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.parley_enqueue(queue text, name text, payload bytea DEFAULT '\x'::bytea, headers jsonb DEFAULT '{}'::jsonb, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, priority integer DEFAULT 0, max_attempts integer DEFAULT NULL::integer, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, concurrency_key text DEFAULT NULL::text, dedupe_key text DEFAULT NULL::text, dedupe_policy text DEFAULT NULL::text, dedupe_window interval DEFAULT NULL::interval, run_timeout interval DEFAULT NULL::interval, initial_backoff interval DEFAULT NULL::interval, max_backoff interval DEFAULT NULL::interval, backoff_multiplier double precision DEFAULT NULL::double precision, jitter double precision DEFAULT NULL::double precision) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $_$
#variable_conflict use_column
DECLARE
  wrong_headers text;
  wrong text;
  new_options jsonb;
  new_id bigint := nextval('task_id_seq');
  key_outcome text := 'new';
BEGIN
  payload := coalesce(parley_enqueue.payload, '');
  headers := coalesce(parley_enqueue.headers, '{}');
  priority := coalesce(parley_enqueue.priority, 0);
  run_at := greatest(now(), coalesce(parley_enqueue.run_at, now()));
  concurrency_key := nullif(parley_enqueue.concurrency_key, '');
  dedupe_key := nullif(parley_enqueue.dedupe_key, '');

  IF jsonb_typeof(parley_enqueue.headers) <> 'object' THEN
    wrong_headers := 'headers must be an object of strings';
  ELSIF parley_enqueue.headers <> '{}' THEN
    SELECT nullif(concat_ws('; ',
      CASE WHEN bool_or(jsonb_typeof(h.value) <> 'string') THEN 'headers must be an object of strings' END,
      CASE WHEN count(*) > 64 THEN 'headers must have at most 64 entries' END,
      CASE WHEN bool_or(char_length(h.key) NOT BETWEEN 1 AND 256)
        THEN 'headers must have names of 1 to 256 characters' END,
      CASE WHEN sum(octet_length(h.key) + octet_length(h.value #>> '{}')) > 16384
        THEN 'headers must be at most 16 KiB in all' END), '')
    INTO wrong_headers
    FROM jsonb_each(parley_enqueue.headers) AS h;
  END IF;
  wrong := concat_ws('; ',
    CASE WHEN coalesce(parley_enqueue.queue, '') !~ '^[A-Za-z0-9._-]{1,128}$'
      THEN 'queue must be 1 to 128 of the characters A-Z a-z 0-9 . _ -' END,
    CASE WHEN starts_with(parley_enqueue.queue, 'parley.')
      THEN 'queue must not begin with "parley.", which is reserved for the suite''s own' END,
    CASE WHEN char_length(coalesce(parley_enqueue.name, '')) NOT BETWEEN 1 AND 256
      THEN 'name must have 1 to 256 characters' END,
    CASE WHEN octet_length(parley_enqueue.payload) > 1048576 THEN 'payload must be at most 1 MiB' END,
    wrong_headers,
    CASE WHEN parley_enqueue.run_at >= '10000-01-01 00:00+00'
      THEN 'run_at must be before the year 10000' END,
    CASE WHEN parley_enqueue.expires_at < '0001-01-01 00:00+00'
           OR parley_enqueue.expires_at >= '10000-01-01 00:00+00'
      THEN 'expires_at must be in the years 1 to 9999' END,
    CASE WHEN parley_enqueue.priority NOT BETWEEN 0 AND 9 THEN 'priority must be 0 to 9' END,
    CASE WHEN parley_enqueue.max_attempts NOT BETWEEN 0 AND 100
      THEN 'max_attempts must be 1 to 100, or 0 for what the queue says' END,
    CASE WHEN char_length(parley_enqueue.concurrency_key) > 128
      THEN 'concurrency_key must have at most 128 characters' END,
    CASE WHEN char_length(parley_enqueue.dedupe_key) > 256
      THEN 'dedupe_key must have at most 256 characters' END,
    CASE WHEN parley_enqueue.dedupe_policy NOT IN ('reject', 'replace', 'keep')
      THEN 'dedupe_policy must be reject, replace or keep' END,
    CASE WHEN extract(epoch FROM parley_enqueue.dedupe_window) NOT BETWEEN 0 AND 366 * 86400
      THEN 'dedupe_window must be 0 to 366 days' END,
    CASE WHEN parley_enqueue.dedupe_key IS NULL
           AND num_nonnulls(parley_enqueue.dedupe_policy, parley_enqueue.dedupe_window) > 0
      THEN 'dedupe_policy and dedupe_window must not be set without a dedupe_key' END,
    CASE WHEN parley_enqueue.run_timeout NOT BETWEEN interval '1 second' AND interval '30 days'
      THEN 'run_timeout must be 1 s to 30 days' END,
    CASE WHEN parley_enqueue.initial_backoff NOT BETWEEN interval '0' AND interval '30 days'
      THEN 'initial_backoff must be 0 to 30 days' END,
    CASE WHEN parley_enqueue.max_backoff NOT BETWEEN interval '0' AND interval '30 days'
      THEN 'max_backoff must be 0 to 30 days' END,
    CASE WHEN parley_enqueue.backoff_multiplier NOT BETWEEN 1 AND 10
      THEN 'backoff_multiplier must be 1 to 10' END,
    CASE WHEN parley_enqueue.jitter NOT BETWEEN 0 AND 1 THEN 'jitter must be 0 to 1' END);
  IF wrong <> '' THEN
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'parley_enqueue: ' || wrong;
  END IF;

  max_attempts := coalesce(nullif(parley_enqueue.max_attempts, 0),
    (SELECT q.max_attempts FROM queues AS q WHERE q.name = parley_enqueue.queue), 10);
  new_options := nullif(jsonb_strip_nulls(jsonb_build_object(
    'retry', nullif(jsonb_strip_nulls(jsonb_build_object(
      'first_us', (extract(epoch FROM parley_enqueue.initial_backoff) * 1000000)::bigint,
      'longest_us', (extract(epoch FROM parley_enqueue.max_backoff) * 1000000)::bigint,
      'multiplier', parley_enqueue.backoff_multiplier, 'jitter', parley_enqueue.jitter)), '{}'),
    'run_timeout_us', (extract(epoch FROM parley_enqueue.run_timeout) * 1000000)::bigint,
    'dedupe_key', parley_enqueue.dedupe_key)), '{}');

  IF parley_enqueue.dedupe_key IS NOT NULL THEN
    SELECT k.outcome, k.holder
    INTO key_outcome, new_id
    FROM take_task_key(parley_enqueue.queue, parley_enqueue.dedupe_key,
                       coalesce(parley_enqueue.dedupe_policy, 'reject'),
                       coalesce((extract(epoch FROM parley_enqueue.dedupe_window) * 1000000)::bigint, 0),
                       new_id) AS k;
    IF key_outcome = 'taken' THEN
      RAISE EXCEPTION USING ERRCODE = 'unique_violation',
        MESSAGE = format('parley_enqueue: task %s has the dedupe_key', new_id),
        CONSTRAINT = 'DEDUPE_KEY_TAKEN';
    ELSIF key_outcome = 'kept' THEN
      RETURN new_id;
    END IF;
  END IF;
  IF key_outcome = 'replaced' THEN
    UPDATE tasks AS t
    SET name = parley_enqueue.name, payload = parley_enqueue.payload, headers = parley_enqueue.headers,
        run_at = parley_enqueue.run_at, expires_at = parley_enqueue.expires_at,
        priority = parley_enqueue.priority, max_attempts = parley_enqueue.max_attempts,
        options = new_options, concurrency_key = parley_enqueue.concurrency_key, attempt = 0,
        errors = '[]', blocked = false, updated_at = now()
    WHERE t.id = new_id AND t.state || '' = 'pending';
  ELSE
    INSERT INTO tasks (id, queue, name, payload, headers, run_at, expires_at, priority, max_attempts,
                       options, concurrency_key)
    VALUES (new_id, parley_enqueue.queue, parley_enqueue.name, parley_enqueue.payload,
            parley_enqueue.headers, parley_enqueue.run_at, parley_enqueue.expires_at,
            parley_enqueue.priority, parley_enqueue.max_attempts, new_options,
            parley_enqueue.concurrency_key);
  END IF;
  -- Heard once the transaction commits.
  PERFORM pg_notify('parley_tasks', parley_enqueue.queue);
  RETURN new_id;
END $_$;


--
-- Name: take_task_key(text, text, text, bigint, bigint); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.take_task_key(of_queue text, wanted text, policy text, new_window_us bigint, new_id bigint, OUT outcome text, OUT holder bigint) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
  held task_keys;
  look timestamptz := now() + interval '1 minute';
BEGIN
  LOOP
    -- Waits for whoever has just written it.
    INSERT INTO task_keys (queue, dedupe_key, task_id, window_us, look_at)
    VALUES (of_queue, wanted, new_id, new_window_us, look)
    ON CONFLICT (queue, dedupe_key) DO NOTHING;
    IF FOUND THEN
      outcome := 'new';
      holder := new_id;
      RETURN;
    END IF;
    SELECT * INTO held FROM task_keys WHERE queue = of_queue AND dedupe_key = wanted FOR UPDATE;
    EXIT WHEN FOUND;  -- or else the reaper has removed it in between
  END LOOP;

  outcome := 'new';
  holder := new_id;
  IF policy = 'replace' THEN
    PERFORM
    FROM tasks AS t
    WHERE t.id = held.task_id AND t.state || '' = 'pending'
      AND (t.expires_at IS NULL OR t.expires_at > now())
    FOR NO KEY UPDATE;
    IF FOUND THEN
      outcome := 'replaced';
      holder := held.task_id;
    END IF;
  ELSIF EXISTS (SELECT FROM tasks AS t
                WHERE t.id = held.task_id
                  AND (t.state || '' = 'running' OR t.expires_at IS NULL OR t.expires_at > now()))
     OR coalesce(task_key_free_at(held) > now(), false) THEN
    outcome := CASE policy WHEN 'keep' THEN 'kept' ELSE 'taken' END;
    holder := held.task_id;
    RETURN;
  END IF;
  UPDATE task_keys
  SET task_id = holder, window_us = new_window_us, free_at = NULL, look_at = look
  WHERE queue = of_queue AND dedupe_key = wanted;
END $$;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: task_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.task_keys (
    queue text NOT NULL COLLATE pg_catalog."C",
    dedupe_key text NOT NULL COLLATE pg_catalog."C",
    task_id bigint NOT NULL,
    window_us bigint NOT NULL,
    free_at timestamp with time zone,
    look_at timestamp with time zone NOT NULL,
    CONSTRAINT task_keys_dedupe_key_check CHECK (((char_length(dedupe_key) >= 1) AND (char_length(dedupe_key) <= 256))),
    CONSTRAINT task_keys_queue_check CHECK (((octet_length(queue) >= 1) AND (octet_length(queue) <= 128))),
    CONSTRAINT task_keys_window_us_check CHECK ((window_us >= 0))
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='2000');


--
-- Name: task_key_free_at(public.task_keys); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.task_key_free_at(held public.task_keys) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    AS $$
  SELECT coalesce(held.free_at, CASE WHEN held.window_us > 0 THEN (
    SELECT max(h.finished_at) + held.window_us * interval '1 microsecond'
    FROM task_history AS h
    WHERE h.id = held.task_id AND h.state = 'succeeded') END);
$$;


--
-- Name: dead_tasks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.dead_tasks (
    id bigint NOT NULL,
    died_at timestamp with time zone DEFAULT now() NOT NULL,
    queue text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    payload bytea NOT NULL,
    headers jsonb NOT NULL,
    run_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    priority smallint NOT NULL,
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    errors jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    options jsonb,
    concurrency_key text COLLATE pg_catalog."C",
    schedule_id bigint,
    fire_at timestamp with time zone
);
ALTER TABLE ONLY public.dead_tasks ALTER COLUMN payload SET STORAGE EXTERNAL;


--
-- Name: task_history; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.task_history (
    id bigint NOT NULL,
    finished_at timestamp with time zone DEFAULT now() NOT NULL,
    queue text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    payload bytea NOT NULL,
    headers jsonb NOT NULL,
    run_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    priority smallint NOT NULL,
    state text NOT NULL COLLATE pg_catalog."C",
    attempt integer NOT NULL,
    max_attempts integer NOT NULL,
    lease_token uuid,
    errors jsonb NOT NULL,
    result bytea DEFAULT '\x'::bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    options jsonb,
    concurrency_key text COLLATE pg_catalog."C",
    schedule_id bigint,
    fire_at timestamp with time zone,
    CONSTRAINT task_history_result_check CHECK ((octet_length(result) <= 262144)),
    CONSTRAINT task_history_state_check CHECK ((state = ANY (ARRAY['succeeded'::text, 'cancelled'::text, 'expired'::text])))
)
PARTITION BY RANGE (finished_at);
ALTER TABLE ONLY public.task_history ALTER COLUMN payload SET STORAGE EXTERNAL;


--
-- Name: tasks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tasks (
    id bigint NOT NULL,
    queue text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL,
    payload bytea NOT NULL,
    headers jsonb DEFAULT '{}'::jsonb NOT NULL,
    run_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    priority smallint NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL COLLATE pg_catalog."C",
    attempt integer DEFAULT 0 NOT NULL,
    max_attempts integer NOT NULL,
    lease_token uuid,
    lease_until timestamp with time zone,
    cancel_requested boolean DEFAULT false NOT NULL,
    errors jsonb DEFAULT '[]'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    options jsonb,
    concurrency_key text COLLATE pg_catalog."C",
    schedule_id bigint,
    fire_at timestamp with time zone,
    deadline_at timestamp with time zone,
    blocked boolean DEFAULT false NOT NULL,
    CONSTRAINT tasks_check CHECK (((attempt >= 0) AND (attempt <= max_attempts))),
    CONSTRAINT tasks_check1 CHECK (((state = 'running'::text) = (lease_until IS NOT NULL))),
    CONSTRAINT tasks_check2 CHECK (((state = 'running'::text) = (lease_token IS NOT NULL))),
    CONSTRAINT tasks_check4 CHECK (((schedule_id IS NULL) = (fire_at IS NULL))),
    CONSTRAINT tasks_check5 CHECK (((NOT blocked) OR ((state = 'pending'::text) AND (concurrency_key IS NOT NULL)))),
    CONSTRAINT tasks_max_attempts_check CHECK (((max_attempts >= 1) AND (max_attempts <= 100))),
    CONSTRAINT tasks_name_check CHECK ((name <> ''::text)),
    CONSTRAINT tasks_options_check CHECK ((jsonb_typeof(options) = 'object'::text)),
    CONSTRAINT tasks_payload_check CHECK ((octet_length(payload) <= 1048576)),
    CONSTRAINT tasks_priority_check CHECK (((priority >= 0) AND (priority <= 9))),
    CONSTRAINT tasks_queue_check CHECK (((octet_length(queue) >= 1) AND (octet_length(queue) <= 128))),
    CONSTRAINT tasks_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'running'::text])))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='2000', autovacuum_vacuum_cost_delay='0');
ALTER TABLE ONLY public.tasks ALTER COLUMN payload SET STORAGE EXTERNAL;


--
-- Name: all_tasks; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.all_tasks AS
 SELECT tasks.id,
    tasks.queue,
    tasks.name,
    tasks.payload,
    tasks.headers,
    tasks.run_at,
    tasks.expires_at,
    tasks.priority,
    tasks.state,
    tasks.attempt,
    tasks.max_attempts,
    tasks.lease_token,
    tasks.lease_until,
    tasks.cancel_requested,
    tasks.errors,
    '\x'::bytea AS result,
    tasks.options,
    tasks.concurrency_key,
    tasks.schedule_id,
    tasks.fire_at,
    tasks.created_at,
    tasks.updated_at
   FROM public.tasks
UNION ALL
 SELECT task_history.id,
    task_history.queue,
    task_history.name,
    task_history.payload,
    task_history.headers,
    task_history.run_at,
    task_history.expires_at,
    task_history.priority,
    task_history.state,
    task_history.attempt,
    task_history.max_attempts,
    task_history.lease_token,
    NULL::timestamp with time zone AS lease_until,
    false AS cancel_requested,
    task_history.errors,
    task_history.result,
    task_history.options,
    task_history.concurrency_key,
    task_history.schedule_id,
    task_history.fire_at,
    task_history.created_at,
    task_history.finished_at AS updated_at
   FROM public.task_history
UNION ALL
 SELECT dead_tasks.id,
    dead_tasks.queue,
    dead_tasks.name,
    dead_tasks.payload,
    dead_tasks.headers,
    dead_tasks.run_at,
    dead_tasks.expires_at,
    dead_tasks.priority,
    'dead'::text AS state,
    dead_tasks.attempt,
    dead_tasks.max_attempts,
    NULL::uuid AS lease_token,
    NULL::timestamp with time zone AS lease_until,
    false AS cancel_requested,
    dead_tasks.errors,
    '\x'::bytea AS result,
    dead_tasks.options,
    dead_tasks.concurrency_key,
    dead_tasks.schedule_id,
    dead_tasks.fire_at,
    dead_tasks.created_at,
    dead_tasks.died_at AS updated_at
   FROM public.dead_tasks;


--
-- Name: chat_user; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.chat_user (
    chat_id bigint NOT NULL,
    user_id bigint NOT NULL,
    role text NOT NULL,
    joined_at timestamp with time zone DEFAULT now() NOT NULL,
    read_seq bigint DEFAULT 0 NOT NULL,
    own_unread bigint DEFAULT 0 NOT NULL,
    joined_seq bigint DEFAULT 0 NOT NULL,
    joined_event bigint DEFAULT 0 NOT NULL,
    CONSTRAINT chat_user_own_unread_check CHECK ((own_unread >= 0)),
    CONSTRAINT chat_user_read_seq_check CHECK ((read_seq >= 0)),
    CONSTRAINT chat_user_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'member'::text])))
)
WITH (fillfactor='80');


--
-- Name: chats; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.chats (
    id bigint NOT NULL,
    title text NOT NULL,
    description text,
    chat_type text NOT NULL,
    creator_user_id bigint NOT NULL,
    last_seq bigint DEFAULT 0 NOT NULL,
    user_count integer DEFAULT 0 NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    first_seq bigint DEFAULT 1 NOT NULL,
    last_event bigint DEFAULT 0 NOT NULL,
    last_sent_at timestamp with time zone,
    retention_us bigint,
    purge_at timestamp with time zone,
    CONSTRAINT chats_chat_type_check CHECK ((chat_type = ANY (ARRAY['private'::text, 'group'::text, 'channel'::text]))),
    CONSTRAINT chats_check CHECK (((first_seq >= 1) AND (first_seq <= (last_seq + 1)))),
    CONSTRAINT chats_description_check CHECK ((char_length(description) <= 512)),
    CONSTRAINT chats_last_event_check CHECK ((last_event >= 0)),
    CONSTRAINT chats_last_seq_check CHECK ((last_seq >= 0)),
    CONSTRAINT chats_retention_us_check CHECK ((retention_us > 0)),
    CONSTRAINT chats_title_check CHECK (((char_length(title) >= 1) AND (char_length(title) <= 256))),
    CONSTRAINT chats_user_count_check CHECK ((user_count >= 0))
)
WITH (fillfactor='80');


--
-- Name: chats_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.chats_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: chats_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.chats_id_seq OWNED BY public.chats.id;


--
-- Name: erasures; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.erasures (
    user_id bigint NOT NULL,
    task_id bigint NOT NULL,
    messages_erased bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone
);


--
-- Name: legacy_passwords; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.legacy_passwords (
    user_id bigint NOT NULL,
    password text NOT NULL,
    accepted boolean NOT NULL
);


--
-- Name: message_events; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.message_events (
    chat_id bigint NOT NULL,
    event bigint NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    CONSTRAINT message_events_event_check CHECK ((event > 0)),
    CONSTRAINT message_events_kind_check CHECK ((kind = ANY (ARRAY['updated'::text, 'deleted'::text])))
);


--
-- Name: messages; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.messages (
    chat_id bigint NOT NULL,
    seq bigint NOT NULL,
    id bigint NOT NULL,
    user_id bigint NOT NULL,
    text text NOT NULL,
    deleted boolean DEFAULT false NOT NULL,
    revision integer DEFAULT 1 NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    request_id text,
    request_fingerprint text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    reply_to_seq bigint,
    search tsvector,
    CONSTRAINT messages_check CHECK ((deleted = (text = ''::text))),
    CONSTRAINT messages_check1 CHECK (((request_id IS NULL) = (request_fingerprint IS NULL))),
    CONSTRAINT messages_check2 CHECK (((reply_to_seq >= 1) AND (reply_to_seq <= (seq - 1)))),
    CONSTRAINT messages_check3 CHECK (((NOT deleted) OR (search IS NULL))),
    CONSTRAINT messages_seq_check CHECK ((seq > 0)),
    CONSTRAINT messages_text_check CHECK ((char_length(text) <= 1024))
)
WITH (autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_insert_scale_factor='0.05');


--
-- Name: message_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.message_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: message_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.message_id_seq OWNED BY public.messages.id;


--
-- Name: message_revisions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.message_revisions (
    chat_id bigint NOT NULL,
    seq bigint NOT NULL,
    revision integer NOT NULL,
    text text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT message_revisions_revision_check CHECK ((revision > 0)),
    CONSTRAINT message_revisions_text_check CHECK (((char_length(text) >= 1) AND (char_length(text) <= 1024)))
);


--
-- Name: password_attempts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.password_attempts (
    subject text NOT NULL COLLATE pg_catalog."C",
    forgiven_at timestamp with time zone NOT NULL
);


--
-- Name: queue_counters; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.queue_counters (
    queue text NOT NULL COLLATE pg_catalog."C",
    backend integer NOT NULL,
    pending bigint DEFAULT 0 NOT NULL,
    running bigint DEFAULT 0 NOT NULL,
    dead bigint DEFAULT 0 NOT NULL,
    created bigint DEFAULT 0 NOT NULL,
    succeeded bigint DEFAULT 0 NOT NULL,
    cancelled bigint DEFAULT 0 NOT NULL,
    expired bigint DEFAULT 0 NOT NULL,
    died bigint DEFAULT 0 NOT NULL,
    retried bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000');


--
-- Name: queues; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.queues (
    name text NOT NULL COLLATE pg_catalog."C",
    paused_at timestamp with time zone,
    pause_note text DEFAULT ''::text NOT NULL,
    max_attempts integer,
    retry jsonb DEFAULT '{}'::jsonb NOT NULL,
    max_running integer,
    max_running_per_key integer,
    rate_per_second double precision,
    burst integer,
    tokens double precision,
    tokens_at timestamp with time zone,
    limited boolean GENERATED ALWAYS AS ((num_nonnulls(max_running, max_running_per_key, rate_per_second) > 0)) STORED NOT NULL,
    target jsonb,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT queues_burst_check CHECK ((burst >= 1)),
    CONSTRAINT queues_check CHECK ((num_nulls(rate_per_second, burst, tokens, tokens_at) = ANY (ARRAY[0, 4]))),
    CONSTRAINT queues_max_attempts_check CHECK (((max_attempts >= 1) AND (max_attempts <= 100))),
    CONSTRAINT queues_max_running_check CHECK ((max_running >= 1)),
    CONSTRAINT queues_max_running_per_key_check CHECK ((max_running_per_key >= 1)),
    CONSTRAINT queues_name_check CHECK ((name ~ '^[A-Za-z0-9._-]{1,128}$'::text)),
    CONSTRAINT queues_pause_note_check CHECK ((char_length(pause_note) <= 256)),
    CONSTRAINT queues_rate_per_second_check CHECK ((rate_per_second > (0)::double precision)),
    CONSTRAINT queues_retry_check CHECK ((jsonb_typeof(retry) = 'object'::text)),
    CONSTRAINT queues_target_check CHECK ((jsonb_typeof(target) = 'object'::text)),
    CONSTRAINT queues_tokens_check CHECK ((tokens >= (0)::double precision))
)
WITH (fillfactor='70');


--
-- Name: requests; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.requests (
    operation text NOT NULL,
    scope_id bigint NOT NULL,
    request_id text NOT NULL,
    fingerprint text NOT NULL,
    resource_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: retired_requests; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.retired_requests (
    chat_id bigint NOT NULL,
    user_id bigint NOT NULL,
    request_id text NOT NULL,
    request_fingerprint text NOT NULL,
    seq bigint NOT NULL
);


--
-- Name: schedules; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.schedules (
    id bigint NOT NULL,
    name text COLLATE pg_catalog."C",
    cron text,
    interval_us bigint,
    anchor_at timestamp with time zone,
    time_zone text NOT NULL,
    start_at timestamp with time zone,
    end_at timestamp with time zone,
    queue text NOT NULL COLLATE pg_catalog."C",
    task_name text NOT NULL,
    payload bytea NOT NULL,
    headers jsonb DEFAULT '{}'::jsonb NOT NULL,
    priority smallint NOT NULL,
    max_attempts integer,
    expire_after_us bigint,
    options jsonb,
    concurrency_key text COLLATE pg_catalog."C",
    misfire_policy text NOT NULL COLLATE pg_catalog."C",
    misfire_limit integer NOT NULL,
    catch_up_window_us bigint NOT NULL,
    overlap_policy text NOT NULL COLLATE pg_catalog."C",
    jitter_us bigint NOT NULL,
    paused_at timestamp with time zone,
    pause_note text DEFAULT ''::text NOT NULL,
    considered_until timestamp with time zone NOT NULL,
    next_fire_at timestamp with time zone,
    buffered_fire_at timestamp with time zone,
    last_fire_at timestamp with time zone,
    last_task_id bigint,
    fired bigint DEFAULT 0 NOT NULL,
    missed bigint DEFAULT 0 NOT NULL,
    overlapped bigint DEFAULT 0 NOT NULL,
    buffered bigint DEFAULT 0 NOT NULL,
    triggered bigint DEFAULT 0 NOT NULL,
    backfilled bigint DEFAULT 0 NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT schedules_catch_up_window_us_check CHECK ((catch_up_window_us >= 0)),
    CONSTRAINT schedules_check CHECK ((num_nonnulls(cron, interval_us) = 1)),
    CONSTRAINT schedules_check1 CHECK (((interval_us IS NULL) = (anchor_at IS NULL))),
    CONSTRAINT schedules_check2 CHECK ((start_at < end_at)),
    CONSTRAINT schedules_check3 CHECK ((next_fire_at > considered_until)),
    CONSTRAINT schedules_check4 CHECK (((paused_at IS NOT NULL) OR (pause_note = ''::text))),
    CONSTRAINT schedules_check5 CHECK (((paused_at IS NULL) OR (buffered_fire_at IS NULL))),
    CONSTRAINT schedules_cron_check CHECK ((cron <> ''::text)),
    CONSTRAINT schedules_expire_after_us_check CHECK ((expire_after_us > 0)),
    CONSTRAINT schedules_headers_check CHECK ((jsonb_typeof(headers) = 'object'::text)),
    CONSTRAINT schedules_interval_us_check CHECK ((interval_us >= 1000000)),
    CONSTRAINT schedules_jitter_us_check CHECK ((jitter_us >= 0)),
    CONSTRAINT schedules_max_attempts_check CHECK (((max_attempts >= 1) AND (max_attempts <= 100))),
    CONSTRAINT schedules_misfire_limit_check CHECK (((misfire_limit >= 1) AND (misfire_limit <= 1000))),
    CONSTRAINT schedules_misfire_policy_check CHECK ((misfire_policy = ANY (ARRAY['skip'::text, 'latest'::text, 'all'::text]))),
    CONSTRAINT schedules_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 128))),
    CONSTRAINT schedules_options_check CHECK ((jsonb_typeof(options) = 'object'::text)),
    CONSTRAINT schedules_overlap_policy_check CHECK ((overlap_policy = ANY (ARRAY['skip'::text, 'buffer_one'::text, 'allow'::text, 'cancel_other'::text]))),
    CONSTRAINT schedules_pause_note_check CHECK ((char_length(pause_note) <= 256)),
    CONSTRAINT schedules_payload_check CHECK ((octet_length(payload) <= 1048576)),
    CONSTRAINT schedules_priority_check CHECK (((priority >= 0) AND (priority <= 9))),
    CONSTRAINT schedules_queue_check CHECK ((queue ~ '^[A-Za-z0-9._-]{1,128}$'::text)),
    CONSTRAINT schedules_task_name_check CHECK (((char_length(task_name) >= 1) AND (char_length(task_name) <= 256)))
)
WITH (fillfactor='70');
ALTER TABLE ONLY public.schedules ALTER COLUMN payload SET STORAGE EXTERNAL;


--
-- Name: schedule_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.schedule_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: schedule_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.schedule_id_seq OWNED BY public.schedules.id;


--
-- Name: scheduled_messages; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.scheduled_messages (
    chat_id bigint NOT NULL,
    id bigint NOT NULL,
    user_id bigint NOT NULL,
    text text NOT NULL,
    reply_to_seq bigint,
    run_at timestamp with time zone NOT NULL,
    local_resolution text,
    task_id bigint NOT NULL,
    state text DEFAULT 'scheduled'::text NOT NULL,
    seq bigint,
    failure_reason text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT scheduled_messages_check CHECK (((state = 'sent'::text) = (seq IS NOT NULL))),
    CONSTRAINT scheduled_messages_check1 CHECK (((state = 'failed'::text) = (failure_reason <> ''::text))),
    CONSTRAINT scheduled_messages_local_resolution_check CHECK ((local_resolution = ANY (ARRAY['unique'::text, 'shifted'::text, 'ambiguous'::text]))),
    CONSTRAINT scheduled_messages_reply_to_seq_check CHECK ((reply_to_seq > 0)),
    CONSTRAINT scheduled_messages_state_check CHECK ((state = ANY (ARRAY['scheduled'::text, 'sent'::text, 'cancelled'::text, 'failed'::text]))),
    CONSTRAINT scheduled_messages_text_check CHECK ((char_length(text) <= 1024))
);


--
-- Name: scheduled_message_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.scheduled_message_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: scheduled_message_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.scheduled_message_id_seq OWNED BY public.scheduled_messages.id;


--
-- Name: task_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.task_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: task_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.task_id_seq OWNED BY public.tasks.id;


--
-- Name: tombstone_blocks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tombstone_blocks (
    chat_id bigint NOT NULL,
    block bigint NOT NULL,
    tombstones bigint NOT NULL,
    CONSTRAINT tombstone_blocks_block_check CHECK ((block >= 0)),
    CONSTRAINT tombstone_blocks_tombstones_check CHECK ((tombstones > 0))
)
WITH (fillfactor='80');


--
-- Name: users; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.users (
    id bigint NOT NULL,
    login text NOT NULL,
    login_key text NOT NULL COLLATE pg_catalog."C",
    name text,
    password_hash text,
    status text DEFAULT 'active'::text NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT users_login_check CHECK (((char_length(login) >= 1) AND (char_length(login) <= 256))),
    CONSTRAINT users_name_check CHECK ((char_length(name) <= 256)),
    CONSTRAINT users_status_check CHECK ((status = ANY (ARRAY['active'::text, 'blocked'::text])))
);


--
-- Name: users_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.users_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: users_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.users_id_seq OWNED BY public.users.id;


--
-- Name: chats id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.chats ALTER COLUMN id SET DEFAULT nextval('public.chats_id_seq'::regclass);


--
-- Name: messages id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages ALTER COLUMN id SET DEFAULT nextval('public.message_id_seq'::regclass);


--
-- Name: scheduled_messages id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.scheduled_messages ALTER COLUMN id SET DEFAULT nextval('public.scheduled_message_id_seq'::regclass);


--
-- Name: schedules id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schedules ALTER COLUMN id SET DEFAULT nextval('public.schedule_id_seq'::regclass);


--
-- Name: tasks id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tasks ALTER COLUMN id SET DEFAULT nextval('public.task_id_seq'::regclass);


--
-- Name: users id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users ALTER COLUMN id SET DEFAULT nextval('public.users_id_seq'::regclass);


--
-- Name: chat_user chat_user_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.chat_user
    ADD CONSTRAINT chat_user_pkey PRIMARY KEY (chat_id, user_id);


--
-- Name: chats chats_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.chats
    ADD CONSTRAINT chats_pkey PRIMARY KEY (id);


--
-- Name: dead_tasks dead_tasks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.dead_tasks
    ADD CONSTRAINT dead_tasks_pkey PRIMARY KEY (id);


--
-- Name: erasures erasures_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (user_id);


--
-- Name: legacy_passwords legacy_passwords_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.legacy_passwords
    ADD CONSTRAINT legacy_passwords_pkey PRIMARY KEY (user_id);


--
-- Name: message_events message_events_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.message_events
    ADD CONSTRAINT message_events_pkey PRIMARY KEY (chat_id, event);


--
-- Name: message_revisions message_revisions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.message_revisions
    ADD CONSTRAINT message_revisions_pkey PRIMARY KEY (chat_id, seq, revision);


--
-- Name: messages messages_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (chat_id, seq);


--
-- Name: password_attempts password_attempts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.password_attempts
    ADD CONSTRAINT password_attempts_pkey PRIMARY KEY (subject);


--
-- Name: queue_counters queue_counters_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.queue_counters
    ADD CONSTRAINT queue_counters_pkey PRIMARY KEY (queue, backend);


--
-- Name: queues queues_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.queues
    ADD CONSTRAINT queues_pkey PRIMARY KEY (name);


--
-- Name: requests requests_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (operation, scope_id, request_id);


--
-- Name: retired_requests retired_requests_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.retired_requests
    ADD CONSTRAINT retired_requests_pkey PRIMARY KEY (chat_id, user_id, request_id);


--
-- Name: scheduled_messages scheduled_messages_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.scheduled_messages
    ADD CONSTRAINT scheduled_messages_pkey PRIMARY KEY (chat_id, id);


--
-- Name: schedules schedules_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT schedules_name_key UNIQUE (name);


--
-- Name: schedules schedules_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.schedules
    ADD CONSTRAINT schedules_pkey PRIMARY KEY (id);


--
-- Name: task_history task_history_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.task_history
    ADD CONSTRAINT task_history_pkey PRIMARY KEY (id, finished_at);


--
-- Name: task_keys task_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.task_keys
    ADD CONSTRAINT task_keys_pkey PRIMARY KEY (queue, dedupe_key);


--
-- Name: tasks tasks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id) WITH (fillfactor='50');


--
-- Name: tombstone_blocks tombstone_blocks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tombstone_blocks
    ADD CONSTRAINT tombstone_blocks_pkey PRIMARY KEY (chat_id, block);


--
-- Name: users users_login_key_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_login_key_key UNIQUE (login_key);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: chat_user_by_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX chat_user_by_user ON public.chat_user USING btree (user_id, chat_id);


--
-- Name: chats_by_type; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX chats_by_type ON public.chats USING btree (chat_type, id);


--
-- Name: chats_to_tend; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX chats_to_tend ON public.chats USING btree (purge_at) WHERE (purge_at IS NOT NULL);


--
-- Name: dead_tasks_by_death; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX dead_tasks_by_death ON public.dead_tasks USING btree (died_at, id);


--
-- Name: dead_tasks_by_queue; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX dead_tasks_by_queue ON public.dead_tasks USING btree (queue, id);


--
-- Name: dead_tasks_by_queue_and_death; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX dead_tasks_by_queue_and_death ON public.dead_tasks USING btree (queue, died_at, id);


--
-- Name: dead_tasks_of_schedule; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX dead_tasks_of_schedule ON public.dead_tasks USING btree (schedule_id, fire_at) WHERE (schedule_id IS NOT NULL);


--
-- Name: message_events_by_message; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX message_events_by_message ON public.message_events USING btree (chat_id, seq);


--
-- Name: messages_by_author; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_by_author ON public.messages USING btree (user_id, chat_id, seq);


--
-- Name: messages_by_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_by_id ON public.messages USING btree (id);


--
-- Name: messages_request; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX messages_request ON public.messages USING btree (chat_id, user_id, request_id) WHERE (request_id IS NOT NULL);


--
-- Name: messages_search; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_search ON public.messages USING gin (chat_id, search) WITH (gin_pending_list_limit='512');


--
-- Name: messages_tombstones; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX messages_tombstones ON public.messages USING btree (chat_id, seq) INCLUDE (user_id) WHERE deleted;


--
-- Name: password_attempts_by_forgiven_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX password_attempts_by_forgiven_at ON public.password_attempts USING btree (forgiven_at);


--
-- Name: queues_limited; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX queues_limited ON public.queues USING btree (name) WHERE limited;


--
-- Name: requests_of_users; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX requests_of_users ON public.requests USING btree (resource_id) WHERE (operation = 'CreateUser'::text);


--
-- Name: retired_requests_by_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX retired_requests_by_user ON public.retired_requests USING btree (user_id);


--
-- Name: scheduled_messages_by_id; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX scheduled_messages_by_id ON public.scheduled_messages USING btree (id);


--
-- Name: scheduled_messages_by_user; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX scheduled_messages_by_user ON public.scheduled_messages USING btree (user_id, id);


--
-- Name: schedules_buffering; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX schedules_buffering ON public.schedules USING btree (id) WHERE (buffered_fire_at IS NOT NULL);


--
-- Name: schedules_by_queue; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX schedules_by_queue ON public.schedules USING btree (queue, id);


--
-- Name: schedules_due; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX schedules_due ON public.schedules USING btree (next_fire_at) WHERE (paused_at IS NULL);


--
-- Name: task_history_by_queue; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX task_history_by_queue ON ONLY public.task_history USING btree (queue, id);


--
-- Name: task_history_unsuccessful; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX task_history_unsuccessful ON ONLY public.task_history USING btree (state, id) WHERE (state <> 'succeeded'::text);


--
-- Name: task_history_unsuccessful_by_queue; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX task_history_unsuccessful_by_queue ON ONLY public.task_history USING btree (queue, state, id) WHERE (state <> 'succeeded'::text);


--
-- Name: task_keys_to_look_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX task_keys_to_look_at ON public.task_keys USING btree (look_at);


--
-- Name: tasks_blocked; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tasks_blocked ON public.tasks USING btree (queue, concurrency_key, priority DESC, run_at, id) WHERE blocked;


--
-- Name: tasks_by_queue; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tasks_by_queue ON public.tasks USING btree (queue, id) WITH (fillfactor='50');


--
-- Name: tasks_due; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tasks_due ON public.tasks USING btree (queue, priority, run_at, id) WHERE ((state = 'pending'::text) AND (NOT blocked));


--
-- Name: tasks_expiring; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tasks_expiring ON public.tasks USING btree (expires_at) WHERE ((state = 'pending'::text) AND (expires_at IS NOT NULL));


--
-- Name: tasks_of_schedule; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX tasks_of_schedule ON public.tasks USING btree (schedule_id, fire_at) WHERE (schedule_id IS NOT NULL);


--
-- Name: tasks_running; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tasks_running ON public.tasks USING btree (queue, concurrency_key, id) WHERE (state = 'running'::text);


--
-- Name: tasks_with_local_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tasks_with_local_time ON public.tasks USING btree (id) WHERE ((state = 'pending'::text) AND ((options -> 'local_time'::text) IS NOT NULL));


--
-- Name: users_by_status; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX users_by_status ON public.users USING btree (status, id);


--
-- Name: tasks count_new; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER count_new AFTER INSERT ON public.tasks REFERENCING NEW TABLE AS now_there FOR EACH STATEMENT EXECUTE FUNCTION public.count_new_tasks();


--
-- Name: chat_user chat_user_chat_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.chat_user
    ADD CONSTRAINT chat_user_chat_id_fkey FOREIGN KEY (chat_id) REFERENCES public.chats(id) ON DELETE CASCADE;


--
-- Name: chat_user chat_user_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.chat_user
    ADD CONSTRAINT chat_user_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: erasures erasures_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.erasures
    ADD CONSTRAINT erasures_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: legacy_passwords legacy_passwords_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.legacy_passwords
    ADD CONSTRAINT legacy_passwords_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: message_events message_events_chat_id_seq_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.message_events
    ADD CONSTRAINT message_events_chat_id_seq_fkey FOREIGN KEY (chat_id, seq) REFERENCES public.messages(chat_id, seq) ON DELETE CASCADE;


--
-- Name: message_revisions message_revisions_chat_id_seq_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.message_revisions
    ADD CONSTRAINT message_revisions_chat_id_seq_fkey FOREIGN KEY (chat_id, seq) REFERENCES public.messages(chat_id, seq) ON DELETE CASCADE;


--
-- Name: messages messages_chat_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_chat_id_fkey FOREIGN KEY (chat_id) REFERENCES public.chats(id) ON DELETE CASCADE;


--
-- Name: messages messages_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: retired_requests retired_requests_chat_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.retired_requests
    ADD CONSTRAINT retired_requests_chat_id_fkey FOREIGN KEY (chat_id) REFERENCES public.chats(id) ON DELETE CASCADE;


--
-- Name: retired_requests retired_requests_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.retired_requests
    ADD CONSTRAINT retired_requests_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: scheduled_messages scheduled_messages_chat_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.scheduled_messages
    ADD CONSTRAINT scheduled_messages_chat_id_fkey FOREIGN KEY (chat_id) REFERENCES public.chats(id) ON DELETE CASCADE;


--
-- Name: scheduled_messages scheduled_messages_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.scheduled_messages
    ADD CONSTRAINT scheduled_messages_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id);


--
-- Name: tombstone_blocks tombstone_blocks_chat_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tombstone_blocks
    ADD CONSTRAINT tombstone_blocks_chat_id_fkey FOREIGN KEY (chat_id) REFERENCES public.chats(id) ON DELETE CASCADE;


--
-- PostgreSQL database dump complete
--
