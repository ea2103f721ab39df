// graphile-worker for bench/scheduler.sh: fills its queue, drains it, and adds jobs to it. Every run is
// warm before the clock starts: connections are open, and the code has been run.
//
// graphile.js COMMAND OPTION...; PGWORKER is the database. What was measured goes to standard output,
// as JSON of the form that parley-bench prints.
//   schema
//   fill JOBS                      due jobs, by add_jobs calls of 1,000
//   drain --batched|--plain --processes N                    until no job is left
//   add --in-flight N --connections N --seconds S --warm-up S
//   add-batch --in-flight N --connections N --seconds S --warm-up S       1,000 jobs a call
"use strict";

const { fork } = require("node:child_process");
const { once } = require("node:events");
const { parseArgs } = require("node:util");
const { Logger, makeWorkerUtils, runOnce } = require("graphile-worker");
const { Pool } = require("pg");

const TASK = "noop";
const BATCH = 1000;
// Its own benchmark's settings, and what it does when nothing is set.
const BATCHED = {
  concurrentJobs: 24,
  maxPoolSize: 25,
  localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};
const PLAIN = { concurrentJobs: 24, maxPoolSize: 25 };

const quiet = new Logger(() => () => {});
const now = () => performance.now();

function spec() {
  return { identifier: TASK, payload: { n: 1 } };
}

function openPool(connections) {
  const pool = new Pool({ connectionString: process.env.PGWORKER, max: connections });
  pool.on("error", (error) => console.error(error));
  pool.on("connect", (client) => client.on("error", (error) => console.error(error)));
  return pool;
}

async function withUtils(connections, work) {
  const pgPool = openPool(connections);
  const utils = await makeWorkerUtils({ pgPool, logger: quiet });
  try {
    return await work(utils, pgPool);
  } finally {
    await utils.release();
    await pgPool.end();
  }
}

// Opens all connections of a pool.
async function warm(pool) {
  const clients = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
  for (const client of clients) client.release();
}

async function fill(utils, jobs) {
  for (let left = jobs; left > 0; left -= BATCH) {
    await utils.addJobs(Array.from({ length: Math.min(left, BATCH) }, spec));
  }
}

// One process's part of a drain: works, once it is told to, until no job is left.
async function drainHere(settings) {
  const pgPool = openPool(settings.maxPoolSize);
  await warm(pgPool);
  let jobs = 0;
  const options = {
    preset: { worker: settings },
    pgPool,
    logger: quiet,
    noHandleSignals: true,
    taskList: { [TASK]: () => void ++jobs },
  };
  process.send("ready");
  await once(process, "message");
  await runOnce(options); // returns when all that is done is committed
  process.send(jobs);
  process.disconnect();
  await pgPool.end();
}

// From telling all processes to begin until the last of them has done its last job.
async function drain(processes, kind) {
  const workers = Array.from({ length: processes }, () => fork(__filename, ["drain-here", kind]));
  const said = () => Promise.all(workers.map((worker) => once(worker, "message")));
  await said();
  const start = now();
  const done = said();
  for (const worker of workers) worker.send("go");
  const tasks = (await done).reduce((sum, [jobs]) => sum + jobs, 0);
  const seconds = (now() - start) / 1000;
  console.log(JSON.stringify({ tasks, seconds, rate: tasks / seconds, ok: tasks > 0 }));
}

function percentile(sorted, part) {
  return sorted[Math.max(Math.ceil(part * sorted.length), 1) - 1];
}

// A closed loop of `inFlight` calls.
async function load(call, { inFlight, connections, seconds, warmUp }) {
  await withUtils(connections, async (utils, pool) => {
    await warm(pool);
    const from = now() + warmUp * 1000;
    const end = from + seconds * 1000;
    const times = [];
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        for (let start = now(); start < end; ) {
          await call(utils);
          const done = now();
          if (done >= from && done <= end) times.push(done - start);
          start = done;
        }
      }),
    );
    times.sort((a, b) => a - b);
    console.log(
      JSON.stringify({
        calls: times.length,
        seconds,
        rate: times.length / seconds,
        p50_ms: percentile(times, 0.5),
        p99_ms: percentile(times, 0.99),
        max_ms: percentile(times, 1),
        ok: times.length > 0,
      }),
    );
  });
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      batched: { type: "boolean" },
      plain: { type: "boolean" },
      processes: { type: "string" },
      "in-flight": { type: "string" },
      connections: { type: "string" },
      seconds: { type: "string" },
      "warm-up": { type: "string" },
    },
  });
  const loop = {
    inFlight: Number(values["in-flight"]),
    connections: Number(values.connections),
    seconds: Number(values.seconds),
    warmUp: Number(values["warm-up"]),
  };
  switch (positionals[0]) {
    case "schema":
      return withUtils(1, (utils) => utils.migrate());
    case "fill":
      return withUtils(1, (utils) => fill(utils, Number(positionals[1])));
    case "drain":
      return drain(Number(values.processes), values.batched ? "--batched" : "--plain");
    case "drain-here": // by drain
      return drainHere(values.batched ? BATCHED : PLAIN);
    case "add":
      return load((utils) => utils.addJob(TASK, { n: 1 }), loop);
    case "add-batch":
      return load((utils) => utils.addJobs(Array.from({ length: BATCH }, spec)), loop);
    default:
      throw new Error(`no command ${positionals[0]}`);
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
