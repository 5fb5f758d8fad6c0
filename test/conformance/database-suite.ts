import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../src/core/log.ts'
import { type Database, DatabaseError, isConstraintViolation, isTransient } from '../../src/store/database.ts'
import { type DatabaseConnection, openDatabase } from '../../src/store/postgres.ts'
import { withRetry } from '../../src/store/retry.ts'
import { administer } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'

/** A running server that the suite may stop and start. */
export interface Subject {
  readonly connection: DatabaseConnection
  start(): Promise<void>
  stop(): Promise<void>
  remove(): Promise<void>
}

/** What every Database must do, whichever server is behind it. */
export function databaseSuite(name: string, make: () => Promise<Subject>): void {
  describe(`database over ${name}`, () => {
    let subject: Subject
    let database: Database
    const open = (options: { statementTimeoutMs?: number; poolMax?: number } = {}) =>
      openDatabase({ connection: subject.connection, poolMax: 4, logger: silentLogger, ...options })

    beforeAll(async () => {
      subject = await make()
      database = open()
    })
    beforeEach(async () => {
      await database.query('DROP TABLE IF EXISTS counters')
      await database.query('CREATE TABLE counters (id int PRIMARY KEY, value int NOT NULL CONSTRAINT small CHECK (value < 100))')
      await database.query('INSERT INTO counters VALUES (1, 0), (2, 0)')
    })
    afterAll(async () => {
      await database?.close()
      await subject?.remove()
    })

    const value = async (id = 1) => (await database.query<{ value: number }>('SELECT value FROM counters WHERE id = $1', [id]))[0]?.value
    /** Sessions of the pool end as if their backends had crashed. */
    const terminate = () =>
      administer(
        subject.connection,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
      )

    describe('values', () => {
      test('come as plain numbers, ISO times and parsed JSON', async () => {
        const [row] = await database.query(
          `SELECT 9007199254740991::bigint AS big, 9007199254740993::bigint AS huge, count(*) AS count,
             '2026-03-01 10:20:30.456789+02'::timestamptz AS at, 'infinity'::timestamptz AS never, NULL::bigint AS nothing,
             '{"a":[1]}'::jsonb AS json, ARRAY[1, NULL]::bigint[] AS bigs, ARRAY['2026-03-01 00:00:00Z'::timestamptz] AS times`,
        )
        expect(row).toEqual({
          big: 9007199254740991,
          huge: '9007199254740993',
          count: 1,
          at: '2026-03-01T08:20:30.456Z',
          never: 'infinity',
          nothing: null,
          json: { a: [1] },
          bigs: [1, null],
          times: ['2026-03-01T00:00:00.000Z'],
        })
      })

      test('go in as parameters, in a named statement too', async () => {
        for (const text of ["'; DROP TABLE counters; --", 'ünï', '\n"']) {
          expect(await database.query('SELECT $1::text AS text', [text], { name: 'echo' })).toEqual([{ text }])
        }
        expect(await database.query('SELECT $1::jsonb AS json', [JSON.stringify([1, { b: null }])])).toEqual([{ json: [1, { b: null }] }])
      })
    })

    describe('a transaction', () => {
      test('commits what resolved and returns its value', async () => {
        const result = await database.transaction(async (tx) => {
          await tx.query('UPDATE counters SET value = 1 WHERE id = 1')
          expect(await value()).toBe(0)
          return 'done'
        })
        expect(result).toBe('done')
        expect(await value()).toBe(1)
      })

      test('rolls back what rejected and passes the error on', async () => {
        const work = database.transaction(async (tx) => {
          await tx.query('UPDATE counters SET value = 1')
          throw new Error('changed my mind')
        })
        await expect(work).rejects.toThrow('changed my mind')
        expect(await value()).toBe(0)
      })

      test('rejects when a failed statement in it was swallowed: nothing of it was kept', async () => {
        const work = database.transaction(async (tx) => {
          await tx.query('UPDATE counters SET value = 1')
          await tx.query('SELECT 1 / 0').catch(() => {})
        })
        await expect(work).rejects.toThrow('rolled back')
        expect(await value()).toBe(0)
      })

      test('is of no use after its end', async () => {
        const tx = await database.transaction(async (inner) => inner)
        await expect(tx.query('SELECT 1')).rejects.toThrow('after its end')
      })

      test('of serializable isolation loses no update when repeated by withRetry', async () => {
        const increment = () =>
          database.transaction(
            async (tx) => {
              const [row] = await tx.query<{ value: number }>('SELECT value FROM counters WHERE id = 1')
              await tx.query('UPDATE counters SET value = $1 WHERE id = 1', [(row?.value ?? 0) + 1])
            },
            { isolation: 'serializable' },
          )
        let conflicts = 0
        await Promise.all(Array.from({ length: 12 }, () => withRetry(increment, { onRetry: () => conflicts++ })))
        expect(await value()).toBe(12)
        expect(conflicts).toBeGreaterThan(0)
      })

      test('that loses a deadlock is transient, and its rollback is known', async () => {
        let arrived = 0
        let meet = () => {}
        const both = new Promise<void>((resolve) => {
          meet = resolve
        })
        const cross = (first: number, second: number) =>
          database.transaction(async (tx) => {
            await tx.query('UPDATE counters SET value = value + 1 WHERE id = $1', [first])
            if (++arrived === 2) meet()
            await both
            await tx.query('UPDATE counters SET value = value + 1 WHERE id = $1', [second])
          })
        const results = await Promise.allSettled([cross(1, 2), cross(2, 1)])
        const [loser] = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
        expect(isTransient(loser)).toBe(true)
        expect(loser).toMatchObject({ fault: 'conflict', isOutcomeUnknown: false, sqlState: '40P01' })
        expect(await value()).toBe(1)
      })
    })

    describe('an error', () => {
      test('names the constraint that was violated', async () => {
        const error = await database.query('UPDATE counters SET value = 100').catch((reason: unknown) => reason)
        expect(isConstraintViolation(error, 'small')).toBe(true)
        expect(isConstraintViolation(error, 'other')).toBe(false)
        expect(isTransient(error)).toBe(false)
      })

      test('never holds the parameters (I8)', async () => {
        const error = (await database.query('SELECT $1::int', ['hunter2-secret']).catch((reason: unknown) => reason)) as DatabaseError
        expect(error).toBeInstanceOf(DatabaseError)
        expect(JSON.stringify({ message: error.message, details: error.details, cause: error.cause })).not.toContain('hunter2-secret')
      })

      test('of a statement that takes too long says so and is not repeated', async () => {
        const hasty = open({ statementTimeoutMs: 50 })
        const error = await hasty.query('SELECT pg_sleep(5)').catch((reason: unknown) => reason)
        expect(error).toMatchObject({ fault: 'timeout', isOutcomeUnknown: false })
        expect(isTransient(error)).toBe(false)
        await hasty.transaction((tx) => tx.query('SELECT pg_sleep(0.1)'), { statementTimeoutMs: 5000 })
        await hasty.close()
      })
    })

    describe('notifications', () => {
      test('arrive on their channel alone until the listener ends', async () => {
        const heard: (string | null)[] = []
        const end = await database.listen('first', (payload) => heard.push(payload))
        const endOther = await database.listen('second', () => heard.push('wrong channel'))
        await database.query("SELECT pg_notify('first', 'one')")
        await eventually(() => expect(heard).toEqual(['one']))
        await end()
        await database.query("SELECT pg_notify('first', 'two')")
        const again: (string | null)[] = []
        const endAgain = await database.listen('first', (payload) => again.push(payload))
        await database.query("SELECT pg_notify('first', 'three')")
        await eventually(() => expect(again).toEqual(['three']))
        expect(heard).toEqual(['one'])
        await Promise.all([endAgain(), endOther(), end()])
      })

      test('reach the other listeners when one throws', async () => {
        const heard: (string | null)[] = []
        const ends = [
          await database.listen('shared', () => {
            throw new Error('listener broken')
          }),
          await database.listen('shared', (payload) => heard.push(payload)),
        ]
        await database.query("SELECT pg_notify('shared', 'x')")
        await eventually(() => expect(heard).toEqual(['x']))
        await Promise.all(ends.map((end) => end()))
      })

      test('that may have been missed are announced after the connection was lost', async () => {
        const heard: (string | null)[] = []
        const end = await database.listen('first', (payload) => heard.push(payload))
        await terminate()
        await eventually(() => expect(heard).toEqual([null]))
        await withRetry(() => database.query("SELECT pg_notify('first', 'after')"), { isIdempotent: true })
        await eventually(() => expect(heard).toContain('after'))
        await end()
      })

      test('need a plain channel name', async () => {
        await expect(database.listen('a; DROP TABLE counters', () => {})).rejects.toThrow('channel')
      })
    })

    describe('when backends die', () => {
      test('idle ones are replaced and nobody notices', async () => {
        await Promise.all(Array.from({ length: 4 }, () => database.query('SELECT pg_sleep(0.01)')))
        await terminate()
        await withRetry(() => database.query('SELECT 1'), { isIdempotent: true })
      })

      test('a transaction that was cut is repeated, because nothing of it was kept', async () => {
        let attempts = 0
        await withRetry(() =>
          database.transaction(async (tx) => {
            attempts += 1
            await tx.query('UPDATE counters SET value = value + 1 WHERE id = 1')
            if (attempts === 1) await terminate()
            await tx.query('SELECT 1')
          }),
        )
        expect({ attempts, value: await value() }).toEqual({ attempts: 2, value: 1 })
      })

      test('one that dies between two statements of a transaction does not end the process', async () => {
        const work = database.transaction(async (tx) => {
          await tx.query('SELECT 1')
          await terminate()
          await eventually(async () => {
            await expect(tx.query('SELECT 1')).rejects.toMatchObject({ fault: 'connection-lost', isOutcomeUnknown: false })
          })
          throw new Error('noticed')
        })
        await expect(work).rejects.toThrow('noticed')
      })

      test('a statement of unknown outcome is repeated only when that is harmless', async () => {
        const slow = async () => {
          attempts += 1
          return database.query('UPDATE counters SET value = 7 WHERE id = 1 AND pg_sleep($1) IS NOT NULL', [attempts === 1 ? 30 : 0])
        }
        const cut = async () => {
          await eventually(async () => {
            const [row] = await administer<{ n: number }>(
              subject.connection,
              "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'UPDATE counters%' AND state = 'active'",
            )
            expect(row?.n).toBe(1)
          })
          await terminate()
        }
        let attempts = 0
        const [refused] = await Promise.all([withRetry(slow).catch((error: unknown) => error), cut()])
        expect(refused).toMatchObject({ fault: 'connection-lost', isOutcomeUnknown: true })
        expect(attempts).toBe(1)
        attempts = 0
        await Promise.all([withRetry(slow, { isIdempotent: true }), cut()])
        expect({ attempts, value: await value() }).toEqual({ attempts: 2, value: 7 })
      })
    })

    describe('when the server goes away', () => {
      test('work waits for it with withRetry and listeners hear that they missed something', async () => {
        const heard: (string | null)[] = []
        const end = await database.listen('first', (payload) => heard.push(payload))
        await subject.stop()
        const error = await database.query('SELECT 1').catch((reason: unknown) => reason)
        expect(isTransient(error)).toBe(true)
        const waited = withRetry(() => database.query('SELECT 1 AS one'), { isIdempotent: true })
        await subject.start()
        expect(await waited).toEqual([{ one: 1 }])
        await eventually(() => expect(heard).toEqual([null]))
        await end()
      })

      test('withRetry gives up when told to, or after its bound', async () => {
        await subject.stop()
        try {
          const abort = new AbortController()
          const waited = withRetry(() => database.query('SELECT 1'), {
            isIdempotent: true,
            signal: abort.signal,
            onRetry: () => abort.abort(new Error('enough')),
          })
          await expect(waited).rejects.toThrow('enough')
          const bounded = withRetry(() => database.query('SELECT 1'), { isIdempotent: true, giveUpAfterMs: 100 })
          await expect(bounded).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
        } finally {
          await subject.start()
        }
      })

      test('a database that opens while the server is away works once it is back', async () => {
        await subject.stop()
        const early = open()
        await expect(early.query('SELECT 1')).rejects.toMatchObject({ fault: 'unavailable', isOutcomeUnknown: false })
        await subject.start()
        expect(await early.query('SELECT 1 AS one')).toEqual([{ one: 1 }])
        await early.close()
      })
    })

    test('more work than connections waits its turn', async () => {
      const small = open({ poolMax: 2 })
      const results = await Promise.all(Array.from({ length: 20 }, (_, n) => small.query<{ n: number }>('SELECT $1::int AS n', [n])))
      expect(results.map(([row]) => row?.n)).toEqual(Array.from({ length: 20 }, (_, n) => n))
      await small.close()
    })

    test('close waits for what is running, works twice, and refuses what comes after', async () => {
      const short = open()
      await short.listen('first', () => {})
      const running = short.query('SELECT pg_sleep(0.1), 1 AS one')
      await eventually(() =>
        administer<{ n: number }>(
          subject.connection,
          "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.1), 1%' AND pid <> pg_backend_pid()",
        ).then((rows) => rows.length > 0),
      )
      const closing = Promise.all([short.close(), short.close()])
      expect(await running).toMatchObject([{ one: 1 }])
      await closing
      await expect(short.query('SELECT 1')).rejects.toBeInstanceOf(DatabaseError)
    })
  })
}
