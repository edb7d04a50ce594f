/** People and their faces. */
import { Avatar } from '@mantine/core';
import type { Attachment } from 'fhir/r4';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useMemo } from 'react';
import { initialsOf, relative } from '../fhir/values';
import { useSession } from '../session/context';
import classes from './frame.module.css';

/** A picture, or else initials. It says nothing to screen readers: the name stands beside it. */
export function PersonFace({ name, photo, size = 44 }: { name: string; photo?: Attachment[] | undefined; size?: number }) {
  const source = usePicture(photo?.[0]);
  return (
    <Avatar src={source ?? null} size={size} radius={1000} color="sea" variant="light" alt="" aria-hidden="true">
      {/* Not text of the page: the name stands beside it, and a button with a face is called by the name. */}
      <span className={classes.initials} data-initials={initialsOf(name)} />
    </Avatar>
  );
}

/** An address for an attachment that only the session may read. */
function usePicture(picture: Attachment | undefined): string | undefined {
  const { fhir } = useSession();
  const inline = picture?.data && picture.contentType?.startsWith('image/') ? `data:${picture.contentType};base64,${picture.data}` : undefined;
  const reference = inline ? undefined : relative(picture?.url);
  const { data } = useQuery({
    queryKey: ['Binary', 'picture', reference ?? ''],
    queryFn: ({ signal }) => fhir.blob(reference ?? '', signal),
    enabled: reference !== undefined,
    staleTime: Infinity,
    retry: false,
  });
  const address = useMemo(() => (data ? URL.createObjectURL(data) : undefined), [data]);
  useEffect(() => () => { if (address) URL.revokeObjectURL(address); }, [address]);
  return inline ?? address;
}
