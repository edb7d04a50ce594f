/** What belongs to the person rather than to a page: further places on phones, and the way out. */
import { Menu } from '@mantine/core';
import { LogOut } from 'lucide-react';
import { useLocation } from 'wouter';
import { useMe } from '../format/context';
import { useSession } from '../session/context';
import { useT } from '../texts/context';
import { AccountButton } from './account';
import type { Place } from './frame';

export default function AccountMenu({ more }: { more: Place[] }) {
  const t = useT();
  const [, navigate] = useLocation();
  const { signOut } = useSession();
  const me = useMe();
  return (
    <Menu position="bottom-end" width={240} shadow="md" keepMounted={false}>
      <Menu.Target>
        <AccountButton />
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{me.name || t('app.account')}</Menu.Label>
        {more.map(({ to, label, icon: Icon }) => (
          <Menu.Item key={to} leftSection={<Icon size={18} aria-hidden="true" />} onClick={() => navigate(to)}>
            {label}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item leftSection={<LogOut size={18} aria-hidden="true" />} onClick={() => void signOut()}>
          {t('app.signOut')}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
