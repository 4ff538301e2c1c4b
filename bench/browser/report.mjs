// Counts the checks that passed and failed. After a failure the other checks still run.

let passed = 0;
let failed = 0;

/** Runs one check, named by a sentence. Returns true if it passed. */
export async function check(sentence, claim) {
  try {
    await claim();
    passed += 1;
    console.log(`ok      ${sentence}`);
    return true;
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${sentence}\n        ${String(error.message ?? error).split("\n").slice(0, 6).join("\n        ")}`);
    return false;
  }
}

/** Counts an error outside a check as a failed check, and ends the run. An example is a rejected promise without a handler. */
process.on("uncaughtException", (error) => {
  console.log(`FAILED  outside a check: ${error.stack ?? error}`);
  process.exit(1);
});

/** Prints the totals and sets the exit code. A run without a check has not passed. */
export function conclude() {
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}
