package exec_test

import (
	"errors"
	"testing"
)

var errBroken = errors.New("broken")

// TestNullPropagation follows 6.4.4: a null where the type allows one stays; elsewhere the parent is null instead.
func TestNullPropagation(t *testing.T) {
	t.Parallel()
	whole := &person{values{"name": "Whole"}}
	torn := &person{values{"name": nil}}
	check(t, values{"ann": torn, "must": whole, "ben": whole, "people": list(whole), "size": 4},
		example{"a nullable field is null", `{ ben { nick name } }`, nil, `{"ben":{"nick":null,"name":"Whole"}}`, nil},
		example{"a non-null one makes its object null", `{ size ann { age name } ben { name } }`, nil,
			`{"size":4,"ann":null,"ben":{"name":"Whole"}}`, []string{"ann.name 1:18 must not be null"}},
		example{"under its alias", `{ a: ann { n: name } }`, nil, `{"a":null}`, []string{"a.n 1:12 must not be null"}},
		example{"in a fragment", `{ ann { ...f } } fragment f on Named { name }`, nil, `{"ann":null}`, []string{"ann.name 1:40 must not be null"}},
		example{"a composite that is null", `{ ben { name address { city } } }`, nil, `{"ben":null}`, []string{"ben.address 1:14 must not be null"}},
		example{"a list that is null", `{ ben { friends { name } } }`, nil, `{"ben":null}`, []string{"ben.friends 1:9 must not be null"}},
	)
	root := func(v values) values {
		v["size"] = 4
		return v
	}
	check(t, root(values{"must": torn}),
		example{"up to data", `{ size must { name } }`, nil, `null`, []string{"must.name 1:15 must not be null"}})
	check(t, root(values{"people": list(whole, torn, whole, torn)}),
		example{"[T!]! has no room for it, every error counts", `{ people { name } }`, nil, `null`,
			[]string{"people[1].name 1:12 must not be null", "people[3].name 1:12 must not be null"}})
	check(t, root(values{"all": list(torn, whole)}),
		example{"[T!] is null", `{ all { name } size }`, nil, `{"all":null,"size":4}`, []string{"all[0].name 1:9 must not be null"}})
	check(t, root(values{"some": list(whole, torn, whole), "maybe": list(torn), "animals": list(&cat{values{"name": "Tom"}}, &dog{values{"name": "Rex"}})}),
		example{"[T]! has a null element", `{ some { name } }`, nil, `{"some":[{"name":"Whole"},null,{"name":"Whole"}]}`,
			[]string{"some[1].name 1:10 must not be null"}},
		example{"[T] has a null element", `{ maybe { name } size }`, nil, `{"maybe":[null],"size":4}`, []string{"maybe[0].name 1:11 must not be null"}},
		example{"below an interface", `{ animals { name ... on Cat { lives } } }`, nil, `{"animals":[null,{"name":"Rex"}]}`,
			[]string{"animals[0].lives 1:31 must not be null"}})
	check(t, root(values{"all": list(nil, whole), "some": list(nil, whole)}),
		example{"an element of [T!] is null", `{ all { name } size }`, nil, `{"all":null,"size":4}`, []string{"all[0] - must not be null"}},
		example{"an element of [T]! is null", `{ some { name } }`, nil, `{"some":[null,{"name":"Whole"}]}`, nil})
	check(t, root(values{"people": list(whole, nil)}),
		example{"an element of [T!]! is null", `{ people { name } size }`, nil, `null`, []string{"people[1] - must not be null"}})
	check(t, root(values{"must": nil}),
		example{"a root field that may not be null", `{ size must { name } }`, nil, `null`, []string{"must 1:8 must not be null"}})
	check(t, root(values{"some": nil}),
		example{"a root list that may not be null", `{ size some { name } }`, nil, `null`, []string{"some 1:8 must not be null"}})
	check(t, values{"size": nil},
		example{"a root leaf that may not be null", `{ count size }`, nil, `null`, []string{"size 1:9 must not be null"}})
	check(t, root(values{"ann": &person{values{"friends": list(&person{values{"address": &place{values{"country": &country{}}}}})}}}),
		example{"through everything up to the first that may be null",
			`{ size ann { friends { address { country { code } } } } }`, nil,
			`{"size":4,"ann":null}`, []string{"ann.friends[0].address.country.code 1:44 must not be null"}})
	check(t, root(values{"ann": &person{values{"best": &person{values{"boss": &person{values{"name": nil}}}}, "name": "Ann"}}}),
		example{"which stays whole otherwise", `{ ann { best { boss { name } } name } }`, nil,
			`{"ann":{"best":null,"name":"Ann"}}`, []string{"ann.best.boss.name 1:23 must not be null"}})
}

// failing is a world in which what is loaded fails; leaves that are held can not.
func failing(root values) setup { return setup{root: root, loaded: readings["loaded"]} }

// A field that fails is null, with an error that has its path, aliases and indices in it, and its place in the document
// (6.4.4, 7.1.2).
func TestErrors(t *testing.T) {
	t.Parallel()
	broken := &person{values{"name": "Broken", "nick": errBroken, "age": errBroken, "best": errBroken, "friends": errBroken, "maybe": errBroken,
		"tags": errBroken, "pets": errBroken, "thing": errBroken}}
	sound := &person{values{"name": "Sound", "nick": "S", "friends": list(broken)}}
	y := newToy(t, failing(values{"ann": broken, "ben": sound, "maybe": list(sound, broken, nil, sound), "count": errBroken, "must": errBroken,
		"people": errBroken, "animals": list(&dog{values{"name": "Rex", "owner": errBroken}}, &cat{values{"owner": broken}})}))
	for _, e := range []example{
		{"at a leaf", `{ ann { name nick } }`, nil, `{"ann":{"name":"Broken","nick":null}}`, []string{"ann.nick 1:14 broken"}},
		{"at composites and lists", `{ ann { best { name } maybe { name } tags pets { name } thing { __typename } } }`, nil,
			`{"ann":{"best":null,"maybe":null,"tags":null,"pets":null,"thing":null}}`,
			[]string{"ann.best 1:9 broken", "ann.maybe 1:23 broken", "ann.tags 1:38 broken", "ann.pets 1:43 broken", "ann.thing 1:57 broken"}},
		{"at the root", `{ count ben { name } }`, nil, `{"count":null,"ben":{"name":"Sound"}}`, []string{"count 1:3 broken"}},
		{"where null may not be, one error is enough", `{ ann { name friends { name } } ben { name } }`, nil,
			`{"ann":null,"ben":{"name":"Sound"}}`, []string{"ann.friends 1:14 broken"}},
		{"at a root field that may not be null", `{ must { name } }`, nil, `null`, []string{"must 1:3 broken"}},
		{"of siblings, all of them", `{ ann { nick age friends { name } } must { name } people { name } }`, nil, `null`,
			[]string{"ann.nick 1:9 broken", "ann.age 1:14 broken", "ann.friends 1:18 broken", "must 1:37 broken", "people 1:51 broken"}},
		{"in one element of a list", `{ maybe { name nick } }`, nil,
			`{"maybe":[{"name":"Sound","nick":"S"},{"name":"Broken","nick":null},null,{"name":"Sound","nick":"S"}]}`,
			[]string{"maybe[1].nick 1:16 broken"}},
		{"with aliases and indices", `{ m: maybe { f: friends { n: nick } } }`, nil,
			`{"m":[{"f":[{"n":null}]},null,null,{"f":[{"n":null}]}]}`,
			[]string{"m[0].f[0].n 1:27 broken", "m[1].f 1:14 broken", "m[3].f[0].n 1:27 broken"}},
		{"below an interface", `{ animals { owner { nick } } }`, nil, `{"animals":[{"owner":null},{"owner":{"nick":null}}]}`,
			[]string{"animals[0].owner 1:13 broken", "animals[1].owner.nick 1:21 broken"}},
		{"of two aliases, each", `{ ann { a: nick b: nick } }`, nil, `{"ann":{"a":null,"b":null}}`, []string{"ann.a 1:9 broken", "ann.b 1:17 broken"}},
	} {
		t.Run(e.name, func(t *testing.T) { want(t, y.run(t, e.document, e.variables), e.data, e.errors...) })
	}
}

// An error that a merged field has stands where the field is first met (7.1.2).
func TestLocationIsThatOfTheFirstOccurrence(t *testing.T) {
	t.Parallel()
	y := newToy(t, failing(values{"ann": &person{values{"nick": errBroken, "best": errBroken}}}))
	want(t, y.run(t, "{\n ann {\n  nick ...f nick best { name } } }\nfragment f on Person {\n nick best { age } }", nil),
		`{"ann":{"nick":null,"best":null}}`, "ann.nick 3:3 broken", "ann.best 5:7 broken")
}

// A list's elements that may not be null fail one by one; the list has no error of its own (6.4.4).
func TestOneErrorForEachNull(t *testing.T) {
	t.Parallel()
	y := newToy(t, failing(values{"ann": &person{values{"name": "Ann", "friends": list(nil,
		&person{values{"name": errBroken, "address": errBroken}}, &person{values{"address": &place{values{"city": nil}}}})}}}))
	want(t, y.run(t, `{ ann { name friends { name address { city country { code } } } } }`, nil), `{"ann":null}`,
		"ann.friends[0] - must not be null",
		"ann.friends[1].name 1:24 broken", "ann.friends[1].address 1:29 broken",
		"ann.friends[2].name 1:24 must not be null", "ann.friends[2].address.city 1:39 must not be null",
		"ann.friends[2].address.country 1:44 must not be null")
}
