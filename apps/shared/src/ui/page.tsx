/** Parts of pages. */
import { Text, Title } from '@mantine/core';
import { ChevronLeft } from 'lucide-react';
import { useEffect, type ReactNode } from 'react';
import { Link } from 'wouter';
import { useT } from '../texts/context';
import classes from './frame.module.css';

/** A page with its title, which is the window's too. `back`: the page that this one is under. `bare`: the page has a heading of its own. */
export function Page({ title, lead, back, actions, bare = false, children }: { title: string; lead?: ReactNode; back?: { to: string; label?: string }; actions?: ReactNode; bare?: boolean; children: ReactNode }) {
  const t = useT();
  useEffect(() => {
    document.title = `${title} · MedConsult`;
  }, [title]);
  return (
    <div className={classes.page}>
      {back && (
        <Link to={back.to} className={classes.back}>
          <ChevronLeft size={18} aria-hidden="true" />
          {back.label ?? t('app.back')}
        </Link>
      )}
      {!bare && (
        <div className={classes.head}>
          <div className={classes.title}>
            <Title order={1}>{title}</Title>
            {lead && <Text c="dimmed" mt={4} component="div">{lead}</Text>}
          </div>
          {actions && <div className={classes.actions}>{actions}</div>}
        </div>
      )}
      {children}
    </div>
  );
}

/** A part of a page under a heading of its own. `plain`: without a box around it. */
export function Section({ title, actions, plain = false, children }: { title?: ReactNode; actions?: ReactNode; plain?: boolean; children: ReactNode }) {
  return (
    <section className={plain ? classes.plain : classes.section}>
      {(title || actions) && (
        <div className={classes.sectionHead}>
          {title && <Title order={2}>{title}</Title>}
          {actions}
        </div>
      )}
      {children}
    </section>
  );
}
