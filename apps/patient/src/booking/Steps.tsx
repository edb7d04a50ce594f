import { VisuallyHidden } from '@mantine/core';
import { useT } from '@medconsult/shared/texts/context';
import classes from './booking.module.css';

const COUNT = 4;

/** How far one has come: whom, when, what about, done. */
export function Steps({ at }: { at: number }) {
  const t = useT();
  return (
    <>
      <VisuallyHidden>{t('steps.at', { at, of: COUNT })}</VisuallyHidden>
      <ol className={classes.steps} aria-hidden="true">
        {Array.from({ length: COUNT }, (_, step) => (
          <li key={step} data-done={step < at || undefined} />
        ))}
      </ol>
    </>
  );
}
