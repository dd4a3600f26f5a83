/** @valija/worker: the worker app, for the all-in-one starter. */
export { main } from './main.ts'
export { startWorker, type WorkerParts } from './worker.ts'
