/** The person's face, which opens their menu. */
import { UnstyledButton } from '@mantine/core';
import type { ComponentPropsWithRef } from 'react';
import { useMe } from '../format/context';
import { useT } from '../texts/context';
import { PersonFace } from './person';
import classes from './frame.module.css';

export function AccountButton(button: ComponentPropsWithRef<'button'>) {
  const t = useT();
  const me = useMe();
  return (
    <UnstyledButton {...button} className={classes.person} aria-label={`${t('app.account')}: ${me.name}`}>
      <PersonFace name={me.name} photo={me.resource?.photo} size={36} />
    </UnstyledButton>
  );
}
