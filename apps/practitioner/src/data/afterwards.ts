/**
 * Goes on after a change, whether or not what started it is still on the page: a request that is answered leaves the list,
 * and its buttons with it. What went wrong is shown where the change was started, unless `failed` says it elsewhere.
 */
export function afterwards<R>(change: Promise<R>, done: (result: R) => void, failed: (error: unknown) => void = () => undefined): void {
  void change.then(done, failed);
}
