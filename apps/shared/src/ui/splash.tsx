/** What is there before anything is: the shape of a page, so that nothing jumps when it comes. */
import { Skeleton } from '@mantine/core';
import classes from './frame.module.css';

export function Splash() {
  return (
    <div className={classes.page} role="status" aria-busy="true" aria-label="MedConsult">
      <Skeleton height={30} width="45%" mb="lg" />
      <Lines count={3} />
    </div>
  );
}

/** Rows that are on their way. */
export function Lines({ count = 3, height = 84 }: { count?: number; height?: number }) {
  return (
    <div aria-hidden="true">
      {Array.from({ length: count }, (_, row) => (
        <Skeleton key={row} height={height} radius="lg" mb="sm" />
      ))}
    </div>
  );
}
