/** Where a visit stands for those who work through the day: a visit that takes place now is told apart. */
import { useT } from '@medconsult/shared/texts/context';
import { Label, StatusLabel } from '@medconsult/shared/ui/status';
import { Video } from 'lucide-react';
import type { Standing } from '../logic/visits';

export function StandingLabel({ standing }: { standing: Standing }) {
  const t = useT();
  return standing === 'in-progress' ? (
    <Label icon={Video} tone="accent">
      {t('status.in-progress')}
    </Label>
  ) : (
    <StatusLabel label={standing} />
  );
}
