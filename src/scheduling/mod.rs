//! Scheduling: who can be booked when, and what becomes of a visit from its request to its end.
//!
//! Everything is FHIR: Schedules with the hours of practitioners, Slots for time that is taken, Appointments. What cannot
//! be read off a resource (which time is taken *now*, what lapses) is in tables that a guard keeps in the transaction of
//! each write.
//!
//! | file | concern |
//! |---|---|
//! | [`availability`] | hours on a wall clock, as instants. Pure |
//! | [`lookout`] | the first openings of many calendars. Pure |
//! | [`rules`] | what a Schedule and a HealthcareService lay down. Pure |
//! | [`state`] | the states of an Appointment and the moves between them. Pure |
//! | [`visit`], [`requests`], [`proposal`] | the resources: read, made, changed. Pure but for looking up a proposal |
//! | [`booking`] | the writes of each step. Pure |
//! | [`calendar`] | the tables |
//! | [`guard`] | what holds whoever writes |
//! | [`answers`] | what an AppointmentResponse or a Task does to a visit |
//! | [`authority`] | who may move which visit |
//! | [`directory`] | which Schedules offer which services |
//! | [`desk`] | what the operations share |
//! | [`operations`] | `$find`, `$hold`, `$book`, `$confirm`, `$cancel`, `$reschedule`, `$block`, `$calendar` |
//! | [`icalendar`], [`feed`] | visits as calendar files |
//! | [`expiry`] | what nobody settles lapses |
//! | [`names`] | URLs and codes |

pub mod answers;
pub mod authority;
pub mod availability;
pub mod booking;
pub mod calendar;
pub mod desk;
pub mod directory;
pub mod expiry;
pub mod feed;
pub mod guard;
pub mod icalendar;
pub mod lookout;
pub mod names;
pub mod operations;
pub mod proposal;
pub mod requests;
pub mod rules;
pub mod state;
pub mod visit;
