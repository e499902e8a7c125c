"""The soak: hundreds of pipeline runs on a real Airflow while everything goes wrong.

``make soak`` runs it, ``make soak SEED=7 RUNS=1000 MINUTES=90`` for longer. It needs the server binaries of PostgreSQL.
Half of the runs are walked by Airflow, half by SageMaker; ``--orchestrator`` chooses one of them.

* Airflow is real: API server, scheduler with LocalExecutor, DAG processor and two triggerers on Postgres. The local AWS
  endpoint runs in the soak's own process.
* A fifth of all answers is faulty, all kinds alike (``faults``): throttled, 500, 503, none, reset, cut, late, and lost
  after the work was done. In a third of the DAGs botocore never repeats a call, in another third events tell of ended
  jobs.
* The endpoint knows who calls by the port of the connection, and kills that process: before it does what it is asked
  for, or after and without an answer (``kills``). Of a worker, the task, its supervisor or both die; of a triggerer,
  the process that runs triggers, or all. Every boundary of every operation is struck once, whatever crosses it, then a
  share of the calls. The scheduler dies with all its workers now and then. What is dead is started again, as systemd
  would (``airflow``).
* Jobs fail for good, or once and are to be replaced, by the seed; tasks are marked failed or cleared while their jobs
  run (``plan``). So it is known before a run how it and each of its tasks must end, and which jobs there must be.
* Where SageMaker walks the graph (``watched_plan``), tasks are also cleared after their steps' success or failure, the
  start is cleared, and runs are marked failed. It is known which executions there must be, how each must end, and how
  often it must be retried. The job's image tells whose it is, and the execution's name (``executions``).
* In the end the endpoint's own records and Airflow's API are held against that (``verdicts``): duplicate jobs, orphans,
  wrong verdicts, stuck tasks. Each of the four must be zero. The report has all counts, and each violation's story.

Three things are counted apart. A Lambda function runs at least once; AWS allows no better. Airflow tells nobody to stop
the job of a task that is marked failed when no process has it, or one that dies: between its deferral and the start of
its trigger, before its worker could report the deferral, which is then refused, and after the death of its worker or
triggerer. And a task that is cleared while it runs on a worker that has died is to Airflow the same as one that is
retried; the soak clears deferred tasks only.

The seed decides the runs, the faults of each call and the calls that are struck, by the number of the call at its
operation. Which task makes that call depends on the machine's timing, so a second soak of a seed is alike, not equal.
"""
