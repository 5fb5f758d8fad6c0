import { readFileSync } from 'node:fs'

/**
 * The longest that work held this thread's event loop, in ms of the thread's own processor time between two rounds of the loop. The clock on
 * the wall would tell of the other programs of a busy host too.
 */
export async function heldLoop(work: () => Promise<unknown>): Promise<number> {
  let longest = 0
  let last = ownTime()
  const look = () => {
    const now = ownTime()
    longest = Math.max(longest, now - last)
    last = now
  }
  const ticking = setInterval(look, 1)
  // The first part of what is measured begins in a round of its own.
  await new Promise((resolve) => setTimeout(resolve, 5))
  longest = 0
  last = ownTime()
  try {
    await work()
  } finally {
    look()
    clearInterval(ticking)
  }
  return longest
}

function ownTime(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]) / 1e6
}
