/** Other applications for the patient who is open (SMART App Launch's launch from an EHR). */
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { toast } from '@medconsult/shared/ui/toast';
import { Button, Menu } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { LayoutGrid } from 'lucide-react';

interface Application {
  client_id: string;
  name: string;
}

export function Launcher({ patient, encounter }: { patient: string; encounter?: string | undefined }) {
  const t = useT();
  const { accountPages, token } = useSession();
  const endpoint = new URL('launch', accountPages).href;
  const call = async (init: RequestInit = {}) => {
    const answer = await fetch(endpoint, {
      ...init,
      headers: { 'Authorization': `Bearer ${await token()}`, 'Content-Type': 'application/json' },
    });
    if (!answer.ok) throw new Error(`launch: ${answer.status}`);
    return answer.json() as Promise<unknown>;
  };
  const { data } = useQuery({
    queryKey: ['launch'],
    queryFn: async () => ((await call()) as { applications: Application[] }).applications,
    staleTime: 10 * 60_000,
    retry: false,
  });
  const open = async (application: Application) => {
    // Opened by the click itself, or browsers take it for an advertisement.
    const window_ = window.open('', '_blank');
    try {
      const { url } = (await call({ method: 'POST', body: JSON.stringify({ client_id: application.client_id, patient, encounter }) })) as {
        url: string;
      };
      if (!window_) return;
      window_.opener = null;
      window_.location.replace(url);
    } catch {
      window_?.close();
      toast(t('launcher.failed', { name: application.name }), 'bad');
    }
  };
  if (!data?.length) return null;
  return (
    <Menu position="bottom-end" width={260} shadow="md" keepMounted={false}>
      <Menu.Target>
        <Button variant="default" leftSection={<LayoutGrid size={18} aria-hidden="true" />}>
          {t('launcher.open')}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{t('launcher.label')}</Menu.Label>
        {data.map((application) => (
          <Menu.Item key={application.client_id} onClick={() => void open(application)}>
            {application.name}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}
