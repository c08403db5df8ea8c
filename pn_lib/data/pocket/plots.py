"""The plots of the Pocket stories, as templates (``pocket_grammar`` explains the marks).

Each plot has a hero, a friend, a problem, a plan, and an ending that cannot be told without facts from its beginning.
To add a plot: write its template, name it in ``story``, and give any new fact its word list in ``pocket_words``.
"""

TEMPLATES = {
    "story": """
<intro>{break}[<lost>|<found>|<missing>|<afraid>|<stuck>|<broken>|<gift>|<quarrel>|<planted>]
""",
    "intro": """
[[Once upon a time, there was|Once there was|Once upon a time, there lived|Long ago, there lived|In a quiet
little town, there lived|In a small house [by the sea|near the woods|on a hill], there lived] {a trait}
[|little |young ]{hero.kind} [named|called] {hero}. {Hero.he} [loved|liked] to {hobby}[| every day].|{Hero}
was {a trait} [|little |young ]{hero.kind} who [loved|liked] to {hobby}[| every day].]
""",
    "lost": """
{Hero} had {a colour} {keepsake}. [It was a gift from {giver}, and {hero.he} took it everywhere|{Giver} had
given it to {hero.him}, and {hero.he} loved it very much|It was {hero.his} favorite thing in the world,
because it came from {giver}]. {Day}, {hero} took the {keepsake} {place.to}. {Hero.his} friend {friend.full}
[came along|came too|was there too]. They [played|{hobby.past}|ran and jumped] [for a long time|until they
were tired|for hours].

[Then|Suddenly|When it was time to go home], {hero} [stopped|looked around|looked down]. "Oh no! [My
{keepsake} is gone|I lost my {keepsake}|I can't find my {keepsake}]!" {hero.he} [cried|said]. "Don't
[worry|cry|be sad]," said {friend}. "[We will find it|I will help you look for it|Let's look for it
together]." They looked {wrong} and {empty}, but [it was not there|there was nothing|they found only {junk}].
[At last|Finally], {friend} [looked|took a look] {spot}. [Something {colour} was there!|There was something
{colour}!|{Friend.he} saw something {colour}!] "[Here it is|I found it|Look what I found]!" {friend.he}
[shouted|called]. {Hero} [jumped for joy|clapped|was so happy].

That [evening|night], {hero} told {giver} [everything|the whole story|all about it]. "[I lost the {colour}
{keepsake} {place.at}, but {friend} found it {spot}|My {colour} {keepsake} was lost {place.at}, but {friend}
found it {spot}]!" {Giver} [smiled|gave {hero.him} a hug|laughed]. "[{Friend} is a good friend|It is good to
have a friend like {friend}|A friend like {friend} is the best gift]," {giver.he} said.
""",
    "found": """
{Day}, {hero} and {hero.his} friend {friend.full} [went for a walk|were playing|were walking] {place.at}.
"{baby.cry}" said a [small|tiny|soft] voice. {Hero} looked {spot} and [found|saw] {a baby} with {a mark}.
"[Poor little thing|Oh, you poor thing]!" {hero.he} said. "[Are you lost|Where is your mother]? I will call
you {pet}, and [we will help you|we will take you home]."

They [went|ran|hurried] to {helper}. "[Where does {pet} live|Have you seen {pet}'s mother|Can you help
{pet}]?" asked {friend}. {Helper} [thought for a moment|looked at the {baby}|nodded]. "I saw {a baby.mother}
{baby.at}," {helper.he} said.

So {hero} [carried|took] {pet} {baby.to}. [There was the {baby.mother}|The {baby.mother} hurried over]. [She
saw the {mark} and knew her baby|When she saw the {mark}, she knew her baby]. "{baby.cry}" said {pet} happily.

[A week later|A few days later|The next spring], the two friends went back {baby.to}. {A baby} with {a mark}
[was waiting|hurried over|came to meet them]. "[Look, it is|It must be|Hello,] {pet}!" [said|cried|laughed]
{friend}. "[Remember when we found it {spot}?|It still knows who found it {spot}!]" They all {hobby.past}
[until dinner|all day long|together].
""",
    "missing": """
{Day}, {hero} wanted to make some {dish} for {hero.his} friend {friend.full}, {reason}. {Hero.he} [looked
everywhere|opened the cupboard|looked in the kitchen], but {hero.he} [could not find any {missing}|had no
{missing}].

So {hero} [went|ran|hurried] to {helper}. "[Do you have|May I have|Could you give me] some {missing}, please?"
{hero.he} asked. "[Of course|Yes|Sure]," said {helper}, "but [first I have to|I still have to] {chore}." "[I
will help you|Let me help|I can do that]!" said {hero}. {Hero.he} {chore.past} [with a smile|right away|and
sang]. Then {helper} gave {hero.him} [some {missing} and a hug|plenty of {missing}].

[At home|Back home], {hero} [worked hard|went to work], and soon the house smelled [wonderful|sweet|very
good]. When the {dish} was ready, {hero.he} took it to {friend}. {Friend} {dish.ate}. "[This is the best
{dish} in the world|What wonderful {dish}|I love this {dish}]!" {friend.he} said. "[How did you make it|Did
you make it all alone]?" "{Helper} gave me the {missing}," said {hero}, "because I {chore.past}." {Friend}
[smiled|laughed] and {reason.after}. [From then on|After that], whenever {helper} had to {chore}, {hero} and
{friend} [helped|went to help].
""",
    "afraid": """
But {hero} [was afraid of one thing|had one fear|had a secret fear]: {fear}. {Day}, {hero.his} friend
{friend.full} said, "[Come on|Come with me]! Let's {fear.do}!" {Hero} [shook {hero.his} head|looked at
{hero.his} feet|took a step back]. "[Not today|Maybe tomorrow|No, thank you]," {hero.he} said
[softly|quietly|sadly].

[Later|That evening|Then], {hero} [met|visited|saw] {helper}. "[Why am I so scared|How can I be brave|What can
I do]?" {hero.he} asked. "When I was [little|young|small], I was afraid of {fear} too," said {helper}. "[But I
knew a trick.|Do you know what I did?] I {trick.past}."

The next [day|morning], {hero} went back with {friend}. {Hero.his} [heart was beating fast|knees were
shaking|hands were cold], but {hero.he} {trick.past}. [Slowly|Little by little|Bit by bit], the fear got
smaller. Then {hero} {fear.did}! "[You did it|Hooray|Wonderful]!" [shouted|cheered] {friend}. "[How did you do
it|Were you not scared]?" "[I just|It was easy. I] {trick.past}," said {hero}. "{Helper} [told me to|taught me
that]."

[Some days later|A week later|Soon after], {friend} was [worried about|afraid of] {worry}. "[Just|You only
have to] {trick}," said {hero}. It [helped|worked]. And {hero} was never afraid of {fear} again.
""",
    "stuck": """
{Day}, {hero} and {hero.his} friend {friend.full} were playing with {a colour} {toy} {yard}.
[Suddenly|Then|But then], {toy.escape}, and the {toy} [landed|got stuck] {high}. "Oh no!" [said|cried] {hero}.
"[How can we get it back|What do we do now|Is it gone now]?"

They {attempt}, but [it did not help|nothing happened]. "[Wait|Listen|I know]!" said {friend}. "{Helper} has
{a tool}. Let's ask for help."

So they [ran|went|hurried] to {helper}. "[May we borrow|Could we use|Please may we use] your {tool}?" asked
[{hero}|{friend}]. "[Of course|Sure|Yes]," said {helper}. "[But be careful|But bring it back soon|Just don't
break it]!" They [carried|took] it back, and {hero} {tool.used}. [Down came the {toy}|At last, the {toy} came
down|The {toy} fell into {friend}'s arms]! "[Hooray|We did it|It worked]!" they [shouted|cheered].

[Before dinner|At sunset|Later], they brought the {tool} back to {helper}. "Did it [help|work]?" {helper.he}
asked. "[Yes! The|Oh yes! The] {colour} {toy} was stuck {high.again}," said {friend}, "but {hero} got it
down!" {Hero} learned that [asking for help is clever|it is good to ask for help].
""",
    "broken": """
{Giver} had {a colour} {treasure} that {giver.he} loved [very much|dearly]. {Day}, {hero} and {hero.his}
friend {friend.full} were {mischief} [in the house|inside|indoors]. [Crash!|Bang!|Bump!] The {treasure} fell
[to|on] the floor and broke. "[Oh no|Oh dear]! What now?" [whispered|said] {friend}. {Hero} [picked
up|took|gathered] the pieces and hid them {hiding}.

[Soon|A little later|That evening], {giver} came [in|home|back]. ["Where is my {colour} {treasure}?"
{giver.he} asked. "I don't know,"|"Have you seen my {colour} {treasure}?" {giver.he} asked. "No,"] said
{hero}, but {hero.his} [face turned red|tummy hurt|heart felt heavy]. {Giver} looked {elsewhere}, but found
nothing.

"[Let's|We must] tell the truth," said {friend} the next day. "[I will come with you|It is better that way]."
So they went to {giver}. "I am [so sorry|very sorry|sorry]," said {hero}. "[We|I] broke your {treasure}. I hid
the pieces {hiding}."

{Giver} [smiled|hugged {hero}|sat down]. "[Thank you for telling|I am glad you told] me the truth," {giver.he}
said. They glued [it|the pieces] together. Now the {colour} {treasure} had [a few cracks|a crack], but {giver}
[loved it even more|did not mind]. And {hero} never hid anything {hiding} again.
""",
    "gift": """
{Hero.his} best friend was {friend.full}, and {friend}'s favorite color was {colour}. "I will {craft.make} {a
craft} for {friend}'s birthday," {hero} [said|thought]. {Hero.he} [got|found|took] some {craft.stuff} and
[began to work|went to work|started right away]. But [it was hard|it was not easy], and the first {craft}
{craft.flaw}.

"[Don't give up|Try again|Don't be sad]," said {giver}. "My first {craft} {craft.flaw} too. [Let me show you
how|I will help you|Let's do it together]." They worked [all evening|all afternoon|until late], and [the new
{craft} was just right|this time it was perfect|it turned out very well]. {Hero} hid it {nook}.

[At last, the birthday came|Then came the birthday|Soon the birthday came]. "[I have a gift|I made you
something]," said {hero}, "but you have to find it!" {Friend} looked {cold}. "[No, not there|Try again|Cold,
very cold]," [laughed|said] {hero}. Then {friend} looked {nook}. There was {a colour} {craft}!

"{Colour} is my favorite color! [You remembered!|You did not forget!|How did you know?]" [said|cried]
{friend}. "{Giver} helped me [make it|a lot]," said {hero}. [They hugged|They laughed], and then they
{hobby.past} [until dinner|all day long|together]. {Friend} [kept|loved] the {colour} {craft} for [a very long
time|many years].
""",
    "quarrel": """
{Day}, {hero} and {hero.his} friend {friend.full} [were playing|went for a walk|were having fun] {place.at}.
They [found|saw] {a colour} {prize} {spot}. [It belonged to nobody|It had no name on it]. "[I saw it first|It
is mine]!" said {hero}. "No, [I saw it first|I want it|give it to me]!" [said|shouted] {friend}. They [pulled
and pulled|both pulled at it|pulled this way and that], [and the {prize} almost broke|until they both fell
down|but nobody let go].

Just then, {helper} [came by|walked by|came along]. "[What is the matter|Why do you look so sad|Why are you so
angry]?" {helper.he} asked. They [told {helper.him} everything|explained]. "[I have an idea|I know what to
do|That is easy]," {helper.he} said. "On {weekday.many}, {hero} can have the {prize}. On {other.many}, it is
{friend}'s turn. And on Sundays, you can share it." ["I am sorry," said {friend}. "[So am I|Me too],"|"I was
wrong," said {friend}. "So was I,"] said {hero}.

When {weekday} came, {hero} [played with|had fun with|took] the {colour} {prize}. When {other} came, {hero.he}
[gave|brought] it to {friend}, just as {helper} had said. And on Sundays, they [played with it {place.at}|took
it back {place.to}], where they had found it {spot}. [Sharing made it twice as much fun|It was much more fun
that way].
""",
    "planted": """
{Day}, {giver} gave {hero} a [tiny|little|small] seed. "[Take good care of it|Put it in the ground and water
it|Plant it and be patient]," {giver.he} said, "and one day you will have {a plant}." {Hero} [was
excited|smiled] and planted it {bed}. Every [morning|day|evening], {hero.he} watered it with {a colour}
watering can.

{Chance} went by, but [nothing happened|there was nothing to see|nothing came up]. "[Nothing will grow
there|That seed is too old|You are only watering mud]," said {hero.his} friend {friend.full}. "Let's {hobby}!"
"[No, I must be patient|No, I will not give up]," said {hero}, and [filled|picked up] the {colour} watering
can again.

Then[, one night,|, at last,|] [something green|a green leaf|a little sprout] came up {bed.again}.
"[Look|Come], {friend}!" [called|shouted] {hero}. "[I was wrong|I am sorry]," said {friend}. "[May I help
now|Can I help, too]?" "[Of course|Yes]," said {hero}, and gave {friend.him} the {colour} watering can.

[The two friends took turns|They watered it together]. By the end of [summer|August], the {plant} {plant.did}.
{Hero} and {friend} brought {giver} {plant.gift}. "[That came from|All this from] one small seed!" {giver.he}
said. [The next year, they planted more|They kept one seed to plant] {bed.again}.
""",
}
