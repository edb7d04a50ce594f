import { startApp } from '@medconsult/shared/start';
import { App } from './App';
import { scope } from './scope';
import { texts } from './texts';

startApp({ registration: { clientId: 'medconsult-practitioner', scope }, texts, App });
