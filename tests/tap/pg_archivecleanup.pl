# pg_archivecleanup driven by PostgreSQL's own test modules, as its suite drives it: what the program says
# of wrong usage, what a dry run leaves alone, and what goes for each kind of boundary.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Utils;
use Test::More;

my $program = 'pg_archivecleanup';
my $archive = PostgreSQL::Test::Utils::tempdir;

program_help_ok($program);
program_version_ok($program);
program_options_handling_ok($program);

# [arguments], what is said, which case
my @refusals = (
	[ [], qr/must specify archive location/, 'no location' ],
	[ [$archive], qr/must specify oldest kept WAL file/, 'no boundary' ],
	[ [ 'nowhere', 'x' ], qr/archive location "nowhere" does not exist/, 'no such location' ],
	[ [ $archive, 'x', 'y' ], qr/too many command-line arguments/, 'one argument too many' ],
	[ [ $archive, 'x' ], qr/invalid file name argument/, 'no name of a segment' ]);
command_fails_like([ $program, @{ $_->[0] } ], $_->[1], $_->[2]) foreach @refusals;

sub clean
{
	my ($case, $options, $boundary, $gone, $kept) = @_;
	append_to_file("$archive/$_", 'WAL') foreach @$gone, @$kept;
	my ($stdout, $stderr);
	my $ok = IPC::Run::run [ $program, @$options, $archive, $boundary ],
	  '>', \$stdout, '2>', \$stderr;
	ok($ok, "$case: status");
	ok(!-e "$archive/$_", "$case: $_ is gone") foreach @$gone;
	ok(-f "$archive/$_", "$case: $_ is kept") foreach @$kept;
	unlink map { "$archive/$_" } @$kept;
	return ($stdout, $stderr);
}

my $old = '00000001000000370000000';
my ($stdout, $stderr) =
  clean('dry run', [ '-d', '-n' ], "${old}E", [], [ "${old}D", "${old}E" ]);
is($stdout, "$archive/${old}D\n", 'dry run: standard output');
like($stderr, qr/${old}D" would be removed/, 'dry run: what would go');
unlike($stderr, qr/${old}E" would be removed/, 'dry run: what would stay');

foreach my $suffix ('', '.partial', '.00000020.backup', '.gz')
{
	clean(
		"boundary with '$suffix'", ['-x.gz'], "${old}E$suffix",
		[ "${old}C.gz", "${old}D" ],
		[ "${old}D.backup", "${old}E", "${old}F.partial", 'unrelated_file' ]);
}

clean(
	'backup history', ['-b'], "${old}E",
	[ "${old}D", "${old}D.00000028.backup" ],
	[ "${old}E", "${old}E.00000028.backup", "${old}F.partial", 'unrelated_file' ]);

done_testing();
