-- Applications that come with the server: registered by it at every start, and people are not asked what they allow them.

ALTER TABLE oauth_client ADD COLUMN own boolean NOT NULL DEFAULT false;
